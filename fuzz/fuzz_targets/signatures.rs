//! Headers that prove who sent something: lines of id, time, signature, and a body.
#![no_main]

use command_service::{bamboohr, push};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (id, timestamp, signature, body) = (next(), next(), next(), next());
    let now = chrono::DateTime::from_timestamp(1_614_265_330, 0).expect("a time");
    let keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()];
    let signed = push::signature::Signed {
        id,
        timestamp,
        signature,
    };
    // Nobody guesses a signature, not even with counters to guide them.
    let seed =
        body == "{\"test\": 2432232314}" && id == "msg_p5jXN8AQM9LWM0D4loKWxJek" && timestamp.trim() == "1614265330";
    assert!(push::signature::verify(&keys, body.as_bytes(), signed, (now, 300)).is_err() || seed);
    assert!(bamboohr::signature::verify(&keys, body.as_bytes(), timestamp, signature, now, 300).is_err());
    drop(push::signature::bytes_of(id));
});
