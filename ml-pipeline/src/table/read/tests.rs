use proptest::prelude::*;

use super::*;
use crate::synthetic::Random;

fn options() -> ReadOptions {
    ReadOptions {
        label: "left".to_owned(),
        ..ReadOptions::default()
    }
}

/// A file with the columns `left`, `pay` and `site` and those that `more` makes of a row and its outcome.
fn file(n: usize, header: &str, more: impl Fn(usize, bool) -> String) -> String {
    let mut random = Random::seeded(1);
    let mut csv = format!("left,pay,site{header}\n");
    for row in 0..n {
        let y = random.happens(0.3);
        let (pay, site) = (random.normal() + f64::from(u8::from(y)), random.below(3));
        let (left, site) = (if y { "yes" } else { "no" }, ["Bonn", "Kiel", "Ulm"][site]);
        csv += &format!("{left},{pay:.6},{site}{}\n", more(row, y));
    }
    csv
}

fn plain(n: usize) -> String {
    file(n, "", |_, _| String::new())
}

fn read_with(csv: &str, options: &ReadOptions) -> Result<Read, TableError> {
    read_csv(&mut csv.as_bytes(), options)
}

#[track_caller]
fn read(csv: &str) -> Read {
    read_with(csv, &options()).expect("a table")
}

#[track_caller]
fn told(csv: &str, options: &ReadOptions) -> String {
    read_with(csv, options).expect_err("no table").to_string()
}

fn names(read: &Read) -> Vec<&str> {
    read.table.inputs.iter().map(|input| input.name.as_str()).collect()
}

fn column<'r>(read: &'r Read, name: &str) -> &'r [f64] {
    let place = read.table.inputs.iter().position(|input| input.name == name);
    &read.table.columns[place.expect("the column")]
}

#[track_caller]
fn only_warning(read: &Read) -> &str {
    assert_eq!(read.warnings.len(), 1, "{:?}", read.warnings);
    &read.warnings[0]
}

#[test]
fn a_plain_file_is_a_table() {
    let read = read(&plain(200));
    assert_eq!(names(&read), ["pay", "site"]);
    assert_eq!(
        read.table.inputs[1].kind,
        InputKind::Category {
            names: ["Bonn", "Kiel", "Ulm"].map(str::to_owned).to_vec()
        }
    );
    assert_eq!(
        (read.table.len(), read.outcomes.len(), read.rows.len()),
        (200, 200, 200)
    );
    assert_eq!(read.positive, "yes");
    let first = plain(200).lines().nth(1).expect("a row").to_owned();
    assert_eq!(read.outcomes[0], first.starts_with("yes"));
    assert!(first.contains(&format!("{:.6}", column(&read, "pay")[0])));
    assert!(first.ends_with(["Bonn", "Kiel", "Ulm"][column(&read, "site")[0] as usize]));
    assert!(
        read.warnings.is_empty() && read.excluded.is_empty(),
        "{:?}",
        read.warnings
    );
    assert!(read.groups.is_none() && read.times.is_none() && read.truth.is_none());
}

#[test]
fn separators_quotes_and_marks_do_not_matter() {
    let usual = read(&plain(100));
    let semicolons = plain(100).replace(',', ";");
    let tabs = plain(100).replace(',', "\t");
    let marked = format!("\u{feff}{}", plain(100));
    let carriage = plain(100).replace('\n', "\r\n");
    let blank_line = format!("\n{semicolons}");
    let spaced = plain(100).replace(',', " , ");
    let quoted = plain(100)
        .replace("left,pay,site", "\"left\",\"pay\",\"site\"")
        .replace(",Kiel", ",\"Kiel\"");
    for csv in [semicolons, tabs, marked, carriage, blank_line, spaced, quoted] {
        let other = read(&csv);
        assert_eq!(other.table, usual.table, "{}", &csv[..40]);
        assert_eq!(other.outcomes, usual.outcomes);
    }
    let commas_within = plain(100)
        .replace(',', ";")
        .replace("pay;site", "\"pay, gross, per month\";site")
        .replace("Kiel", "\"Kiel; \"\"north\"\"\nof the canal\"");
    let other = read(&commas_within);
    assert_eq!(names(&other), ["pay, gross, per month", "site"]);
    assert_eq!(other.table.columns, usual.table.columns);
    let InputKind::Category { names } = &other.table.inputs[1].kind else {
        panic!("categories")
    };
    assert_eq!(names[1], "Kiel; \"north\"\nof the canal");
}

#[test]
fn a_file_that_is_none_is_told_with_the_place() {
    let ragged = plain(100).replacen(",Ulm\n", ",Ulm,extra\n", 1);
    let line = 1 + ragged
        .lines()
        .position(|line| line.contains("extra"))
        .expect("the line");
    assert_eq!(
        told(&ragged, &options()),
        format!("line {line} has 4 fields, the header has 3: look for a stray or missing separator or quote there")
    );
    let mut bytes = plain(100).into_bytes();
    let place = bytes.len() - 30;
    bytes[place] = 0xfc;
    let line = 1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count();
    let not_utf8 = read_csv(&mut bytes.as_slice(), &options()).expect_err("no table");
    assert!(matches!(not_utf8, TableError::NotUtf8 { line: found } if found == line));
    assert!(
        not_utf8
            .to_string()
            .starts_with(&format!("line {line} is not UTF-8: save"))
    );
    assert_eq!(
        told(&plain(100).replacen("site", "pay", 1), &options()),
        "two columns are called \"pay\": rename one"
    );

    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let broken = read_csv(&mut Broken, &options()).expect_err("no table");
    assert!(matches!(broken, TableError::Io(_)) && broken.to_string() == "the file cannot be read");

    let too_large = Raw::read(&mut plain(11).as_bytes(), 10);
    assert!(matches!(too_large, Err(TableError::TooLarge)));
    assert!(TableError::TooLarge.to_string().contains("more than 5000000 rows"));
    assert!(Raw::read(&mut plain(10).as_bytes(), 10).is_ok());
}

#[test]
fn a_column_that_is_not_there_is_told_beside_those_that_are() {
    let named = |options: ReadOptions| told(&plain(100), &options);
    let missing = Some("gone".to_owned());
    let everywhere = [
        ReadOptions {
            label: "gone".to_owned(),
            ..options()
        },
        ReadOptions {
            exclude: vec!["gone".to_owned()],
            ..options()
        },
        ReadOptions {
            group: missing.clone(),
            ..options()
        },
        ReadOptions {
            time: missing.clone(),
            ..options()
        },
        ReadOptions {
            truth: missing,
            ..options()
        },
    ];
    for options in everywhere {
        assert_eq!(
            named(options),
            "there is no column \"gone\"; the columns are: left, pay, site"
        );
    }
    for nothing in ["", "\n\n", "\u{feff}"] {
        assert_eq!(
            told(nothing, &options()),
            "there is no column \"left\"; the columns are: "
        );
    }
}

#[test]
fn the_label_must_tell_two_things_apart() {
    let constant = plain(100).replace("yes,", "no,");
    let positive = |value: &str| ReadOptions {
        positive: Some(value.to_owned()),
        ..options()
    };
    let same = "the label \"left\" is \"no\" in every row: there is nothing to tell apart";
    assert_eq!(told(&constant, &options()), same);
    assert_eq!(told(&constant, &positive("no")), same);
    assert_eq!(
        told(&plain(100), &positive("maybe")),
        "the label \"left\" never is \"maybe\"; its values are: no, yes"
    );
    let open = plain(100).replace("yes,", "resigned,").replace("no,", "active,");
    assert_eq!(
        told(&open, &options()),
        "which value of \"left\" is the outcome? Say so with --positive; its values are: active, resigned"
    );
    let read = read_with(&open, &positive("resigned")).expect("a table");
    assert_eq!(read.outcomes, self::read(&plain(100)).outcomes);
    let three = plain(100).replacen("no,", "unknown,", 3);
    assert!(told(&three, &options()).starts_with("which value of \"left\""));
    assert!(read_with(&three, &positive("yes")).is_ok(), "one against the others");
    let both_say_yes = plain(100).replace("no,", "1,");
    assert!(told(&both_say_yes, &options()).starts_with("which value of \"left\""));
}

#[test]
fn the_usual_ways_to_say_yes_are_understood() {
    let usual = read(&plain(100)).outcomes;
    for (yes, no) in [
        ("1", "0"),
        ("1.0", "0.0"),
        ("TRUE", "FALSE"),
        ("Y", "N"),
        ("Yes", "No"),
        ("t", "f"),
    ] {
        let csv = plain(100)
            .replace("yes,", &format!("{yes},"))
            .replace("no,", &format!("{no},"));
        let read = read(&csv);
        assert_eq!((read.positive.as_str(), &read.outcomes), (yes, &usual));
    }
}

#[test]
fn too_little_to_say_anything_is_told() {
    assert_eq!(
        told(&plain(10), &options()),
        "there are 10 rows with a label: it takes at least 50 to say anything"
    );
    let none = plain(100).replace("yes,", ",").replace("no,", "NA,");
    assert_eq!(
        told(&none, &options()),
        "there are 0 rows with a label: it takes at least 50 to say anything"
    );
    let rare = plain(100).replacen("no,", "seldom,", 9);
    let rare = rare.replace("yes,", "no,").replace("seldom,", "yes,");
    assert_eq!(
        told(&rare, &options()),
        "there are 9 rows of the rarer outcome: it takes at least 10 to say anything"
    );
    let enough = rare.replacen("no,", "yes,", 1);
    assert!(read_with(&enough, &options()).is_ok());
}

#[test]
fn no_columns_to_learn_from_are_told_with_the_reasons() {
    let rows: String = (0..100)
        .map(|row| format!("{},{row},7,,name {row}\n", ["yes", "no"][row % 2]))
        .collect();
    let csv = format!("left,counter,same,empty,name\n{rows}");
    assert_eq!(
        told(&csv, &options()),
        "no column is left to learn from: counter (it counts the rows), same (it is the same in every row), empty (it is \
         empty), name (nearly every row has another text)"
    );
    let excluding = ReadOptions {
        exclude: vec!["pay".to_owned(), "site".to_owned()],
        ..options()
    };
    assert_eq!(
        told(&plain(100), &excluding),
        "no column is left to learn from: pay (as asked), site (as asked)"
    );
    let alone: String = (0..100).map(|row| ["yes\n", "no\n"][row % 2]).collect();
    assert_eq!(
        told(&format!("left\n{alone}"), &options()),
        "no column is left to learn from: there is none but those that were named"
    );
}

#[test]
fn every_way_to_write_nothing_is_missing() {
    let ways = [
        "", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "-", "#N/A",
    ];
    let csv = file(240, ",hours,team", |row, _| {
        let nothing = ways[row / 2 % ways.len()];
        match row % 2 {
            0 => format!(",{nothing},{nothing}"),
            _ => format!(",{},{}", row % 40, ["red", "blue"][row / 2 % 2]),
        }
    });
    let read = read(&csv);
    for name in ["hours", "team"] {
        let missing: Vec<bool> = column(&read, name).iter().map(|value| value.is_nan()).collect();
        assert!(
            missing
                .iter()
                .enumerate()
                .all(|(row, missing)| *missing == (row % 2 == 0))
        );
    }
    assert_eq!(
        read.table.inputs[3].kind,
        InputKind::Category {
            names: ["blue", "red"].map(str::to_owned).to_vec()
        }
    );
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
}

#[test]
fn a_few_texts_among_numbers_are_missing_and_many_are_categories() {
    let few = file(200, ",hours", |row, _| match row % 50 {
        7 => ",full-time".to_owned(),
        8 => ",inf".to_owned(),
        _ => format!(",{}", row % 45),
    });
    let few = read(&few);
    assert_eq!(
        only_warning(&few),
        "\"hours\" holds numbers, but also text in 8 rows (such as \"full-time\"), which was taken for missing"
    );
    assert_eq!(column(&few, "hours").iter().filter(|value| value.is_nan()).count(), 8);
    assert_eq!(few.table.inputs[2].kind, InputKind::Numeric);
    let many = file(200, ",hours", |row, _| match row % 5 {
        0 => ",full-time".to_owned(),
        _ => format!(",{}", row % 5 * 10),
    });
    let many = read(&many);
    assert_eq!(many.table.inputs[2].categories(), Some(5));
    assert!(many.warnings.is_empty());
}

#[test]
fn names_and_counters_are_left_out() {
    let csv = file(200, ",name,number,since", |row, _| {
        format!(",Person {row},{},{}", row + 1000, row / 2)
    });
    let read = read(&csv);
    assert_eq!(names(&read), ["pay", "site", "since"]);
    let excluded: Vec<(&str, &str)> = read
        .excluded
        .iter()
        .map(|(name, why)| (name.as_str(), why.as_str()))
        .collect();
    assert_eq!(
        excluded,
        [
            ("name", "nearly every row has another text"),
            ("number", "it counts the rows")
        ]
    );
    assert_eq!(
        read.warnings,
        [
            "\"name\" has another text in most rows, as names and numbers do, and was left out",
            "\"number\" counts the rows, and was left out"
        ]
    );
}

#[test]
fn rare_categories_share_one() {
    let csv = file(600, ",town", |row, _| {
        let town = if row < 400 { row % 50 } else { row - 350 };
        // The first fifty towns are there eight times, later ones once.
        format!(",town {town:03}")
    });
    let read = read(&csv);
    assert!(only_warning(&read).starts_with("\"town\" has 250 categories: all but the 59 most frequent ones"));
    let place = |row: usize| column(&read, "town")[row];
    assert_eq!(read.table.inputs[2].categories(), Some(CATEGORIES_MAX));
    let InputKind::Category { names } = &read.table.inputs[2].kind else {
        panic!("categories")
    };
    assert!(names.is_sorted() && names.contains(&"(other)".to_owned()));
    assert_eq!(names[place(3) as usize], "town 003");
    assert!(place(599) >= 0.0 && names[place(599) as usize] == "(other)");
}

#[test]
fn rows_without_a_label_are_left_out_and_told() {
    let csv = plain(200).replacen("no,", ",", 5);
    let read = read(&csv);
    assert_eq!(only_warning(&read), "5 rows have no label and were left out");
    assert_eq!((read.table.len(), read.rows.len()), (195, 195));
    let unlabelled: Vec<usize> = csv
        .lines()
        .skip(1)
        .enumerate()
        .filter(|(_, line)| line.starts_with(','))
        .map(|(row, _)| row)
        .collect();
    assert!(unlabelled.iter().all(|row| !read.rows.contains(row)));
    assert!(read.rows.is_sorted());
}

/// The label itself under other names: as numbers, with noise, as other words, and as what is there only afterwards.
#[test]
fn the_label_in_disguise_is_named() {
    let disguises: [fn(usize, bool) -> String; 5] = [
        |_, y| format!(",{}", u8::from(y)),
        |row, y| format!(",{}", f64::from(u8::from(y)) + (row * 37 % 100) as f64 / 150.0),
        |_, y| (if y { ",gone" } else { ",here" }).to_owned(),
        |row, y| {
            if y {
                ",".to_owned()
            } else {
                format!(",{}", row * 37 % 100)
            }
        },
        |_, y| (if y { ",2024-06-30" } else { "," }).to_owned(),
    ];
    for (number, disguise) in disguises.into_iter().enumerate() {
        let csv = file(300, ",disguise", disguise);
        // Whatever the order of the rows: every other row may be a case.
        let mut sorted: Vec<&str> = csv.lines().skip(1).collect();
        sorted.sort_unstable();
        let (no, yes) = sorted.split_at(sorted.partition_point(|line| line.starts_with("no")));
        let mut alternating = vec![csv.lines().next().expect("the header")];
        alternating.extend(no.iter().zip(yes).flat_map(|(no, yes)| [*no, *yes]));
        for csv in [csv.clone(), alternating.join("\n")] {
            let read = read(&csv);
            let warning = only_warning(&read);
            assert!(
                warning.starts_with("\"disguise\" alone tells the outcomes apart with a ROC-AUC of ")
                    && warning.ends_with("leave it out: --exclude disguise"),
                "disguise {number}: {warning}"
            );
        }
    }
    let honest = file(300, ",honest", |row, y| {
        format!(",{}", f64::from(u8::from(y)) + (row * 37 % 100) as f64 / 60.0)
    });
    assert!(read(&honest).warnings.is_empty(), "what is merely good is no disguise");
}

#[test]
fn repeated_rows_are_told_unless_something_keeps_them_together() {
    let csv = plain(200);
    let copies: Vec<&str> = csv.lines().skip(1).take(30).collect();
    let doubled = format!("{csv}{}\n", copies.join("\n"));
    let read = read(&doubled);
    assert!(
        only_warning(&read).starts_with("30 rows repeat another one:"),
        "{:?}",
        read.warnings
    );
    let grouped = ReadOptions {
        group: Some("site".to_owned()),
        ..options()
    };
    assert!(read_with(&doubled, &grouped).expect("a table").warnings.is_empty());
    let relabelled = copies
        .iter()
        .map(|line| {
            line.replace("yes,", "perhaps,")
                .replace("no,", "yes,")
                .replace("perhaps,", "no,")
        })
        .collect::<Vec<_>>();
    let contradicting = format!("{csv}{}\n", relabelled.join("\n"));
    assert!(
        self::read(&contradicting).warnings.is_empty(),
        "another outcome is another case"
    );
}

#[test]
fn groups_times_and_truths_are_no_inputs() {
    let csv = file(100, ",person,on,p", |row, _| {
        let person = if row == 5 || row == 6 {
            String::new()
        } else {
            format!("P{}", row / 2)
        };
        format!(",{person},2024-{:02}-{:02},0.25", row / 28 + 1, row % 28 + 1)
    });
    let all = ReadOptions {
        group: Some("person".to_owned()),
        time: Some("on".to_owned()),
        truth: Some("p".to_owned()),
        ..options()
    };
    let read = read_with(&csv, &all).expect("a table");
    assert_eq!(names(&read), ["pay", "site"]);
    let groups = read.groups.expect("groups");
    assert_eq!(groups[0], groups[1]);
    assert_ne!(groups[5], groups[6], "a row without a group is one of its own");
    let times = read.times.expect("times");
    assert!(times.is_sorted_by(|a, b| a < b));
    assert!(
        (times[28] - times[27] - 4.0).abs() < 1e-9,
        "four days from 28 January on"
    );
    assert_eq!(read.truth.expect("truths"), [0.25; 100]);
}

#[test]
fn times_are_numbers_or_days_and_nothing_else() {
    let timed = ReadOptions {
        time: Some("on".to_owned()),
        ..options()
    };
    let of = |time: &'static str| {
        move |row: usize, _: bool| match row {
            41 => format!(",{time}"),
            _ => format!(",{}", 2000 + row / 10),
        }
    };
    let numbers = read_with(&file(100, ",on", of("1e3")), &timed).expect("a table");
    assert_eq!(numbers.times.expect("times")[40..43], [2004.0, 1000.0, 2004.0]);
    for rubbish in [
        "soon",
        "",
        "NaN",
        "inf",
        "2024-13-01",
        "30.06.2024",
        "2024-06",
        "äääääääää",
    ] {
        assert_eq!(
            told(&file(100, ",on", of(rubbish)), &timed),
            format!("\"on\" has {rubbish:?} in row 42, which is neither a number nor a date (YYYY-MM-DD)")
        );
    }
    assert_eq!(
        told(&file(100, ",on", of("2024-06-30")), &timed),
        "\"on\" has numbers in some rows and dates in others (such as \"2024-06-30\" in row 42): write all of them the same way"
    );
    let stamps = file(100, ",on", |row, _| format!(",2024-01-{:02}T08:00:00Z", row % 28 + 1));
    let stamps = read_with(&stamps, &timed).expect("a table").times.expect("times");
    assert!((stamps[1] - stamps[0] - 1.0).abs() < 1e-9);
}

#[test]
fn truths_are_probabilities() {
    let judged = ReadOptions {
        truth: Some("p".to_owned()),
        ..options()
    };
    for rubbish in ["1.5", "-0.1", "", "likely", "NaN"] {
        let csv = file(100, ",p", |row, _| {
            let p = if row == 99 { rubbish } else { "0.5" };
            format!(",{p}")
        });
        assert_eq!(
            told(&csv, &judged),
            format!("\"p\" has {rubbish:?} in row 100, which is no probability")
        );
    }
}

#[test]
fn another_file_is_read_like_the_first() {
    let learnt = read(&plain(200));
    let mut lines: Vec<String> = Vec::new();
    for line in file(120, ",new", |row, _| format!(",{row}")).lines() {
        let fields: Vec<&str> = line.split(',').collect();
        lines.push([fields[3], fields[2], fields[0], fields[1]].join(","));
    }
    let (row, unseen) = (7, "Jena");
    let fields: Vec<String> = lines[row + 1].split(',').map(str::to_owned).collect();
    lines[row + 1] = [&fields[0], unseen, &fields[2], "much"].join(",");
    let other = read_csv_like(&mut lines.join("\n").as_bytes(), &options(), &learnt).expect("a table");
    assert_eq!(other.table.inputs, learnt.table.inputs);
    let straight = read(&plain(120));
    for name in ["pay", "site"] {
        let (found, right) = (column(&other, name), column(&straight, name));
        assert!(
            found[row].is_nan(),
            "a category, or a text, that was not there is missing"
        );
        let rest = |values: &[f64]| [&values[..row], &values[row + 1..]].concat();
        assert_eq!(rest(found), rest(right), "whatever the order of the columns");
    }
    assert_eq!(other.outcomes, straight.outcomes);
    let without = plain(120).replace("pay", "wage");
    let error = read_csv_like(&mut without.as_bytes(), &options(), &learnt).expect_err("no table");
    assert_eq!(
        error.to_string(),
        "there is no column \"pay\"; the columns are: left, wage, site"
    );
    let turned = plain(120).replace("yes,", "1,").replace("no,", "0,");
    let error = read_csv_like(&mut turned.as_bytes(), &options(), &learnt).expect_err("no table");
    assert_eq!(
        error.to_string(),
        "the label \"left\" never is \"yes\"; its values are: 0, 1"
    );
}

#[test]
fn a_category_that_was_rare_is_one_of_the_others() {
    let csv = file(600, ",town", |row, _| {
        format!(",town {:03}", if row < 400 { row % 50 } else { row - 350 })
    });
    let learnt = read(&csv);
    let other = file(100, ",town", |_, _| ",Xanten".to_owned());
    let other = read_csv_like(&mut other.as_bytes(), &options(), &learnt).expect("a table");
    let rare = column(&learnt, "town")[599];
    assert!(rare.is_finite() && column(&other, "town").iter().all(|value| *value == rare));
}

fn roles() -> impl Strategy<Value = ReadOptions> {
    let role = || prop::option::of(prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned));
    (role(), role(), role()).prop_map(|(group, time, truth)| ReadOptions {
        label: "y".to_owned(),
        group,
        time,
        truth,
        ..ReadOptions::default()
    })
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (-3..9_i32).prop_map(|number| number.to_string()),
        2 => any::<f64>().prop_map(|number| number.to_string()),
        2 => prop::sample::select(vec!["", "NA", "\"", "\"\"", "a", "ß", "0.5", "2024-02-30", "2024-02-29", "1e999", "(other)"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), options in roles()) {
        let _ = read_csv(&mut bytes.as_slice(), &options);
        let mut headed = b"y,a,b,c\n".to_vec();
        headed.extend(bytes);
        let _ = read_csv(&mut headed.as_slice(), &options);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// What comes out is whole: as many values as rows, and every category in its list.
    #[test]
    fn no_cells_make_it_panic(
        cells in prop::collection::vec((any::<bool>(), cell(), cell(), cell()), 40..120),
        options in roles(),
        separator in prop::sample::select(vec![",", ";", "\t"]),
    ) {
        let rows: Vec<String> = cells.iter().map(|(y, a, b, c)| [&u8::from(*y).to_string(), a, b, c].map(String::as_str).join(separator)).collect();
        let csv = format!("{}\n{}", ["y", "a", "b", "c"].join(separator), rows.join("\n"));
        if let Ok(read) = read_csv(&mut csv.as_bytes(), &options) {
            prop_assert!(read.outcomes.len() == read.table.len() && read.rows.len() == read.table.len());
            for (input, values) in read.table.inputs.iter().zip(&read.table.columns) {
                prop_assert_eq!(values.len(), read.table.len());
                let most = input.categories().map_or(f64::INFINITY, |count| count as f64);
                prop_assert!(values.iter().all(|value| value.is_nan() || (value.is_finite() && *value < most)));
            }
            let again = read_csv_like(&mut csv.as_bytes(), &options, &read).expect("the same file");
            prop_assert_eq!(format!("{:?}", again.table), format!("{:?}", read.table));
        }
    }
}
