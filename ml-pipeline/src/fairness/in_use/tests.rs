use super::*;
use crate::fairness::Standing;

fn on() -> Date {
    Date::from_ymd_opt(2026, 11, 21).expect("a day")
}

fn employee(number: usize) -> EmployeeId {
    serde_json::from_str(&format!("\"00000000-0000-0000-0000-{number:012}\"")).expect("an id")
}

/// People of one gender: how many of them have a probability of .95, of .5 and of .01.
type Group<'n> = (Option<&'n str>, [usize; 3]);

struct Company {
    attributes: BTreeMap<EmployeeId, Demographics>,
    scored: Vec<(EmployeeId, f64)>,
}

fn company(groups: &[Group<'_>]) -> Company {
    let (mut attributes, mut scored) = (BTreeMap::new(), Vec::new());
    for (gender, counts) in groups {
        for (count, probability) in counts.iter().zip([0.95, 0.5, 0.01]) {
            for _ in 0..*count {
                let employee = employee(scored.len());
                scored.push((employee, probability));
                if let Some(gender) = gender {
                    let demographics = Demographics {
                        gender: Some((*gender).to_owned()),
                        ..Demographics::default()
                    };
                    attributes.insert(employee, demographics);
                }
            }
        }
    }
    Company { attributes, scored }
}

impl Company {
    fn impact(&self, ripe: &[(Scored, bool)]) -> Impact {
        impact(
            &self.attributes,
            &self.scored,
            ripe,
            Scale::Bands(Bands::default()),
            on(),
        )
    }
}

impl Impact {
    fn at(&self, attribute: &str, band: Band) -> &Audit {
        let mut all = self.thresholds.iter();
        let found = all.find(|at| at.band == band.name() && at.audit.attribute == attribute);
        &found.expect("the audit").audit
    }
}

/// As a table: attribute, band, and per group who is spared, of how many.
fn told(audit: &Audit) -> Vec<(&str, usize, usize)> {
    let group = |group: &'_ super::super::Group| (group.favoured.some, group.favoured.of);
    let names = audit.groups.iter().map(|of| of.group.as_str());
    names
        .zip(audit.groups.iter().map(group))
        .map(|(name, (some, of))| (name, some, of))
        .collect()
}

#[test]
fn every_attribute_is_audited_at_every_band() {
    let impact = company(&[(Some("Female"), [2, 38, 60]), (Some("Male"), [1, 9, 90])]).impact(&[]);
    assert_eq!(
        (impact.people, impact.thresholds.len(), impact.truth.len()),
        (200, 9, 3)
    );
    assert_eq!(
        told(impact.at("gender", Band::Medium)),
        [("Female", 60, 100), ("Male", 90, 100)]
    );
    assert_eq!(
        told(impact.at("gender", Band::High)),
        [("Female", 60, 100), ("Male", 90, 100)]
    );
    assert_eq!(
        told(impact.at("gender", Band::Critical)),
        [("Female", 98, 100), ("Male", 99, 100)]
    );
    let high = impact.at("gender", Band::High);
    assert_eq!(high.verdict, Verdict::BelowFourFifths { significant: true });
    assert_eq!(high.highest.as_deref(), Some("Male"));
    assert_eq!(impact.at("gender", Band::Critical).verdict, Verdict::NoDisparityFound);
    for nothing in ["age", "ethnicity"] {
        let audit = impact.at(nothing, Band::High);
        assert_eq!((audit.verdict, audit.not_shown), (Verdict::InsufficientData, 200));
    }
    assert!(
        impact.thresholds.iter().all(|at| at.audit.threshold.is_none()),
        "one person's score"
    );
}

/// What lies on a threshold is in the band below it, as for the people who see the bands.
#[test]
fn people_are_selected_as_the_bands_are() {
    let bands = Bands::default();
    for (probability, band) in [
        (bands.high_above, Band::Medium),
        (bands.high_above.next_up(), Band::High),
    ] {
        assert_eq!(bands.band(probability), band);
        let mut company = company(&[(Some("Female"), [0, 0, 30])]);
        for (_, score) in &mut company.scored {
            *score = probability;
        }
        let spared = if band == Band::High { 0 } else { 30 };
        assert_eq!(
            told(company.impact(&[]).at("gender", Band::High)),
            [("Female", spared, 30)]
        );
    }
}

#[test]
fn forty_is_the_first_protected_year() {
    let (_, age) = PROTECTED[1];
    let born = |year, month, day| Demographics {
        date_of_birth: Date::from_ymd_opt(year, month, day),
        ..Demographics::default()
    };
    for (demographics, group) in [
        (born(1986, 11, 21), Some("40 and over")),
        (born(1986, 11, 22), Some("under 40")),
        (born(2027, 1, 1), None),
        (Demographics::default(), None),
    ] {
        assert_eq!(age(&demographics, on()).as_deref(), group);
    }
    let (_, gender) = PROTECTED[0];
    let blank = Demographics {
        gender: Some(" ".to_owned()),
        ..Demographics::default()
    };
    assert_eq!(gender(&blank, on()), None);
}

fn ripe(number: usize, probability: f64, came_true: bool) -> (Scored, bool) {
    let scored = Scored {
        employee: employee(number),
        probability,
        band: Band::Low.name().to_owned(),
        scored_on: on(),
        horizon_days: 180,
    };
    (scored, came_true)
}

#[test]
fn a_score_that_is_wrong_for_one_group_is_told_and_few_people_are_not_judged() {
    let company = company(&[
        (Some("Female"), [0, 0, 60]),
        (Some("Male"), [0, 0, 60]),
        (Some("Other"), [0, 0, 10]),
    ]);
    // A tenth should leave of each; of the women a third does.
    let predictions: Vec<(Scored, bool)> = (0..130)
        .map(|number| {
            ripe(
                number,
                0.1,
                if number < 60 { number % 3 == 0 } else { number % 10 == 0 },
            )
        })
        .collect();
    let impact = company.impact(&predictions);
    let truth = &impact.truth[0];
    assert_eq!((truth.attribute.as_str(), truth.not_shown), ("gender", 0));
    let [female, male, other] = truth.groups.as_slice() else {
        panic!("{truth:?}")
    };
    let calibration = female.calibration.expect("enough people");
    assert_eq!((female.ripe, calibration.observed), (60, 20));
    assert!((calibration.expected - 6.0).abs() < 1e-9 && calibration.bounds.low > 1.0);
    assert!(male.calibration.is_some_and(|of| of.bounds.contains(1.0)));
    assert_eq!((other.ripe, other.calibration), (10, None));
    let words = impact.words();
    assert!(
        words
            .iter()
            .any(|words| words.contains("off for 1 of 3 groups by gender")),
        "{words:?}"
    );
}

/// Many predictions about a few people are still a few people.
#[test]
fn a_group_has_as_many_people_as_predictions() {
    let company = company(&[
        (Some("Female"), [0, 0, 60]),
        (Some("Male"), [0, 0, 4]),
        (Some("Other"), [0, 0, 4]),
    ]);
    let once = (0..60).map(|number| ripe(number, 0.1, false));
    let many = (60..68).flat_map(|number| (0..20).map(move |_| ripe(number, 0.1, true)));
    let impact = company.impact(&once.chain(many).collect::<Vec<_>>());
    let names: Vec<&str> = impact.truth[0]
        .groups
        .iter()
        .map(|group| group.group.as_str())
        .collect();
    assert_eq!((names, impact.truth[0].not_shown), (vec!["Female"], 8));
}

#[test]
fn words_tell_the_finding_and_neither_group_nor_count() {
    let words = company(&[(Some("Female"), [0, 40, 60]), (Some("Male"), [0, 10, 90])])
        .impact(&[])
        .words();
    assert_eq!(
        words,
        [
            "Groups by gender are not spared MEDIUM or a higher band alike: adverse impact ratio 0.67, below four fifths, and \
             hardly by chance (least Fisher p below 0.001).",
            "Groups by gender are not spared HIGH or a higher band alike: adverse impact ratio 0.67, below four fifths, and \
             hardly by chance (least Fisher p below 0.001).",
        ]
    );
    // Few enough to be chance; and many, where a smaller difference is none.
    let words = company(&[(Some("Female"), [0, 10, 20]), (Some("Male"), [0, 4, 26])])
        .impact(&[])
        .words();
    assert!(words[0].contains("though it may be chance"), "{words:?}");
    let words = company(&[(Some("Female"), [0, 150, 850]), (Some("Male"), [0, 100, 900])])
        .impact(&[])
        .words();
    assert!(
        words[0].contains("not below four fifths, but hardly by chance"),
        "{words:?}"
    );
    for words in [words, company(&[(Some("Female"), [0, 40, 60])]).impact(&[]).words()] {
        assert!(
            !words
                .iter()
                .any(|words| words.contains("Female") || words.contains("Male"))
        );
    }
}

#[test]
fn nothing_found_and_nothing_known_are_different_words() {
    let even = company(&[(Some("Female"), [0, 10, 90]), (Some("Male"), [0, 10, 90])]).impact(&[]);
    assert_eq!(
        even.words(),
        [
            "No adverse impact was found by gender.",
            "Whether groups fare alike cannot be told by age, ethnicity: insufficient data."
        ]
    );
    let unknown = company(&[(None, [0, 10, 90])]).impact(&[]);
    assert_eq!(
        unknown.words(),
        ["Whether groups fare alike cannot be told by gender, age, ethnicity: insufficient data."]
    );
}

/// What is stored is groups: no id, no single probability, and it reads back.
#[test]
fn what_is_stored_holds_counts_of_groups_only() {
    let company = company(&[
        (Some("Female"), [0, 40, 60]),
        (Some("Male"), [0, 10, 90]),
        (Some("Other"), [0, 2, 2]),
    ]);
    let predictions: Vec<(Scored, bool)> = (0..200).map(|number| ripe(number, 0.125, number % 8 == 0)).collect();
    let impact = company.impact(&predictions);
    let json = serde_json::to_string(&impact).expect("json");
    assert!(
        !json.contains(&employee(0).to_string()) && !json.contains("Other"),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Impact>(&json).expect("an audit"), impact);
    let few = company
        .impact(&[])
        .thresholds
        .iter()
        .all(|at| at.audit.groups.iter().all(|group| group.standing == Standing::Judged));
    assert!(few);
}

/// Of readiness one would rather have much: whoever is not called ready is the one who fares worse.
#[test]
fn levels_of_readiness_are_audited_the_other_way_round() {
    let company = company(&[(Some("Female"), [0, 10, 90]), (Some("Male"), [0, 40, 60])]);
    let bands = Bands::default();
    let usual = bands.medium_above;
    let impact = impact(&company.attributes, &company.scored, &[], Scale::Levels { usual }, on());
    let bands: Vec<&str> = impact.thresholds.iter().map(|at| at.band.as_str()).collect();
    assert_eq!(bands, ["DEVELOPING", "READY"].repeat(PROTECTED.len()));
    assert!(
        impact
            .thresholds
            .iter()
            .all(|at| at.audit.favourable == Favourable::Selected)
    );
    assert!(
        impact.words()[0].contains("do not reach DEVELOPING alike"),
        "{:?}",
        impact.words()
    );
}
