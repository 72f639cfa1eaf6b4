use super::*;
use crate::prior;

#[test]
fn draft() {
    let artifact = prior::prior().expect("the committed prior");
    let company = prior::company(7, 40);
    let on = company.ends_on();
    let mut shown = 0;
    for history in company.histories() {
        let mut state = FeatureState::default();
        for recorded in &history.events {
            state.apply(&recorded.event);
        }
        let text = drawing(&artifact, &Bands::default(), &state, on, Canvas::default());
        if state.is_at_risk(on) {
            shown += 1;
        }
        if shown < 5 || shown == 22 {
            println!("{text}\n");
        }
    }
}
