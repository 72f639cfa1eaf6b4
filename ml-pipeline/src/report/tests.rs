use domain::tenant::Bands;

use super::*;
use crate::{
    dataset::Dataset,
    fairness::{self, Member},
    prior,
    shapes::{self, Effect},
};

const HOSTILE: &str = "<script>alert('&\"')</script>";

fn thresholds() -> Vec<(f64, &'static str)> {
    wording::thresholds(&prior::prior().expect("the committed prior").card, &Bands::default())
}

fn artifact() -> Artifact {
    prior::prior().expect("the committed prior")
}

/// A report with everything in it: one group below four fifths, one too small to be judged, pairs, scores.
fn full(artifact: &Artifact, company: &str) -> String {
    let invented = prior::company(7, 300);
    let dataset = Dataset::build(&invented.histories(), invented.ends_on(), &mut |_| {});
    let rows: Vec<Vec<f64>> = dataset.rows.iter().map(|row| row.x.clone()).collect();
    let latest = dataset.rows.last().expect("a row").cutoff;
    let people: Vec<f64> = dataset
        .rows
        .iter()
        .filter(|row| row.cutoff == latest)
        .map(|row| artifact.score(&row.x, latest).probability)
        .collect();
    let members: Vec<Member> = people
        .iter()
        .enumerate()
        .map(|(place, probability)| Member {
            group: Some(["women", "men", "men", HOSTILE][if place < 10 { 3 } else { place % 3 }].to_owned()),
            probability: *probability + if place % 3 == 0 { 0.05 } else { 0.0 },
            outcome: Some(place % 9 == 0),
        })
        .collect();
    let audit = fairness::audit(
        "gender",
        &members,
        Rule::TopShare { share: 0.3 },
        Favourable::NotSelected,
    );
    let effect = |part: f64| Effect {
        log_odds: part,
        probability: part / 20.0,
    };
    let pair = PairChart {
        features: ("rating".to_owned(), "weekly_hours".to_owned()),
        titles: ("last review rating".to_owned(), "contractual hours a week".to_owned()),
        cells: (
            vec!["not on record".to_owned(), "up to 2.5".to_owned()],
            vec!["not on record".to_owned(), "any".to_owned()],
        ),
        effects: vec![vec![effect(0.0), effect(0.1)], vec![effect(-0.3), effect(0.2)]],
    };
    html(&Report {
        artifact,
        company: Some(company),
        shapes: &shapes::shapes(artifact, &rows),
        pairs: &[pair],
        scores: Scores::of(&people, &thresholds()).as_ref(),
        audits: &[audit],
    })
}

fn bare(artifact: &Artifact) -> String {
    html(&Report {
        artifact,
        company: None,
        shapes: &[],
        pairs: &[],
        scores: None,
        audits: &[],
    })
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let text = full(&artifact(), HOSTILE);
    if let Some(file) = std::env::var_os("REPORT_FILE") {
        std::fs::write(file, &text).expect("written");
    }
    for word in [
        "<script", "http:", "https:", "url(", "@import", "src=", "href=", " onload",
    ] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(text.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"));
}

#[test]
fn every_figure_is_a_number_and_every_element_is_closed() {
    let text = full(&artifact(), "A & B");
    assert!(!text.contains("NaN") && !text.contains("inf ") && !text.contains("\"inf"));
    let mut open: Vec<&str> = Vec::new();
    for tag in text.split('<').skip(1) {
        let tag = &tag[..tag.find('>').expect("a tag's end")];
        let name = tag
            .split(|letter: char| letter.is_whitespace() || letter == '/')
            .find(|name| !name.is_empty())
            .expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn every_plot_has_words() {
    let text = full(&artifact(), "A");
    let plots = text.matches("<svg").count();
    assert!(plots > 20, "{plots}");
    assert_eq!(text.matches("<svg role=\"img\" viewBox=").count(), plots);
    let labels = text
        .split("aria-label=\"")
        .skip(1)
        .map(|rest| &rest[..rest.find('"').expect("an end")]);
    assert!(
        labels.clone().all(|label| label.len() > 15),
        "{:?}",
        labels.min_by_key(|label| label.len())
    );
}

#[test]
fn a_model_that_knows_nothing_says_so_first() {
    let good = artifact();
    assert!(!bare(&good).contains("class=\"alarm\""));
    let lift = good.card.evaluation.lift_top_tenth.expect("somebody left");
    let first = format!("<h1>Of the tenth with the highest scores, {lift:.1} times as many");
    assert!(bare(&good).contains(&first));
    let mut bad = good;
    bad.card.evaluation.brier = bad.card.evaluation.brier_base_rate + 0.001;
    let text = bare(&bad);
    assert!(text.contains("class=\"alarm\"") && text.contains("Do not use its scores"));
    assert!(text.contains("not shown to be better than the plain rate of exits</h1>"));
}

#[test]
fn groups_are_told_with_what_is_not_known_of_them() {
    let text = full(&artifact(), "A");
    assert!(
        text.contains("Gender: ⚠ Below four fifths"),
        "{:?}",
        text.find("Gender:")
    );
    assert!(text.contains("<td data-label=\"ratio\">insufficient data</td>"));
    assert!(text.contains("<td data-label=\"ratio\">highest</td>"));
    assert!(bare(&artifact()).contains("Insufficient data: no attribute"));
}

#[test]
fn gains_agree_with_the_lift_on_the_card() {
    let evaluation = artifact().card.evaluation;
    let gains = gains(&evaluation.reliability);
    assert_eq!((gains.len(), gains[0]), (11, (0.0, 0.0)));
    let (share, held) = gains[1];
    let lift = evaluation.lift_top_tenth.expect("a lift");
    assert!((held / share - lift).abs() < 0.01, "{} for {lift}", held / share);
    let (share, held) = gains[10];
    assert!((share - 1.0).abs() < 1e-12 && (held - 1.0).abs() < 1e-12);
    let nobody = [Bin {
        n: 3,
        predicted: 0.1,
        observed: 0.0,
    }];
    assert_eq!(super::gains(&nobody), [(0.0, 0.0)]);
}

#[test]
fn scores_of_a_few_are_not_told() {
    assert_eq!(Scores::of(&[0.1; SCORED_MIN - 1], &thresholds()), None);
    let mut people = vec![0.05; 30];
    people.extend([0.15, 0.25, 0.95]);
    let scores = Scores::of(&people, &thresholds()).expect("enough people");
    let counts: Vec<usize> = scores.by_band.iter().map(|(_, _, n)| *n).collect();
    assert_eq!(counts, [30, 1, 1, 1]);
    assert_eq!(scores.bins.iter().map(|(_, n)| n).sum::<usize>(), 33);
    let (bin, n) = scores.bins[2];
    assert!(bin.low <= 0.05 && 0.05 <= bin.high && n == 30);
}

#[test]
fn intervals_count_people_and_not_rows() {
    let bin = Bin {
        n: 1_000,
        predicted: 0.1,
        observed: 0.1,
    };
    let [(_, by_person)] = plot::with_intervals(std::slice::from_ref(&bin), 1_000, 100)
        .try_into()
        .expect("one");
    let [(_, by_row)] = plot::with_intervals(&[bin], 1_000, 1_000).try_into().expect("one");
    assert!(by_person.high - by_person.low > 2.5 * (by_row.high - by_row.low));
    // Wilson's interval of 10 of 100 (scipy 1.17).
    assert!(
        (by_person.low - 0.055_229).abs() < 1e-5 && (by_person.high - 0.174_366).abs() < 1e-5,
        "{by_person:?}"
    );
}

#[test]
fn axes_have_round_numbers() {
    assert_eq!([0.3, 7.0, 0.02, 0.011].map(plot::round_step), [0.5, 10.0, 0.02, 0.02]);
    assert_eq!(plot::Scale::new((-3.0, 9.0), (0.0, 1.0)).ticks(3), [0.0, 5.0]);
    assert_eq!(
        [plot::signed(0.0), plot::signed(-0.0004), plot::signed(0.061)],
        ["0", "0", "+6.1"]
    );
    assert_eq!(
        [0.05, 0.0512, 0.123].map(percent),
        ["5\u{a0}%", "5.1\u{a0}%", "12\u{a0}%"]
    );
    assert_eq!(
        [12, 1_234, 1_234_567].map(thousands),
        ["12", "1\u{202f}234", "1\u{202f}234\u{202f}567"]
    );
}
