//! What payrolls answer: Gusto's rates and errors, ADP's workers, answers to events and errors. The first byte says which.
#![no_main]

use axum::http::{HeaderMap, StatusCode};
use command_service::{adp, gusto};
use domain::money::PayPeriod;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else {
        return;
    };
    match which {
        b'g' => {
            if let Ok(known) = serde_json::from_slice::<Vec<gusto::client::Compensation>>(body) {
                assert_eq!(gusto::rows(&known).known.len(), known.len());
            }
            let _ = serde_json::from_slice::<Vec<gusto::client::Employee>>(body);
        }
        b'e' => {
            for status in [
                StatusCode::CONFLICT,
                StatusCode::UNPROCESSABLE_ENTITY,
                StatusCode::NOT_FOUND,
            ] {
                let _ = gusto::client::refusal("a rate of pay", (status, &HeaderMap::new()), body).to_string();
            }
        }
        _ => {
            let Ok(answer) = serde_json::from_slice::<Value>(body) else {
                return;
            };
            let _ = (
                adp::client::messages(&answer),
                adp::client::reference(&answer),
                adp::client::worker(&answer),
            );
            if let Some(assignment) = adp::client::first_assignment(&answer, "G1") {
                for per in [PayPeriod::Hour, PayPeriod::Day, PayPeriod::Year, PayPeriod::Month] {
                    let _ = adp::rate(&assignment, per);
                }
            }
        }
    }
});
