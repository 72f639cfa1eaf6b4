//! How fast the spine of the product is on this machine, beside bare peers in the same run.
//!
//! `cargo bench` measures everything; names measure only those: `cargo bench --bench spine -- log page`. See
//! `benches/README.md`.

mod appends;
mod archive;
mod bare;
mod company;
mod intake;
mod page;
mod past;
mod product;
mod projection;
mod replay;
mod report;
mod scale;
mod scoring;
mod stage;

use report::{Row, tell};
use stage::Stage;

const NAMES: [&str; 10] = [
    "log",
    "intake",
    "projection",
    "page",
    "past",
    "replay",
    "archive",
    "scoring",
    "product",
    "scale",
];

struct Arguments {
    names: Vec<String>,
    json: bool,
    real_kafka: bool,
}

impl Arguments {
    fn parse() -> Self {
        let (options, names): (Vec<String>, Vec<String>) = std::env::args()
            .skip(1)
            .partition(|argument| argument.starts_with("--"));
        let known = ["--json", "--real-kafka", "--bench"]; // `cargo bench` adds the last
        let wrong = options.iter().find(|option| !known.contains(&option.as_str()));
        assert!(wrong.is_none(), "{wrong:?} is none of {known:?}");
        let wrong = names.iter().find(|name| !NAMES.contains(&name.as_str()));
        assert!(wrong.is_none(), "{wrong:?} is none of the benchmarks {NAMES:?}");
        let has = |wanted: &str| options.iter().any(|option| option == wanted);
        Self {
            names,
            json: has("--json"),
            real_kafka: has("--real-kafka"),
        }
    }

    fn wants(&self, name: &str) -> bool {
        (self.names.is_empty() && name != "scale") || self.names.iter().any(|wanted| wanted == name)
    }
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(measure(&arguments));
    report::write(&rows, arguments.json)
}

async fn measure(arguments: &Arguments) -> Vec<Row> {
    tell(&format!("load before: {}", load()));
    let mut rows = Vec::new();
    if NAMES
        .iter()
        .filter(|name| **name != "product")
        .any(|name| arguments.wants(name))
    {
        let stage = Stage::start(arguments.real_kafka).await;
        if arguments.wants("log") {
            rows.extend(appends::run(&stage).await);
        }
        if arguments.wants("intake") {
            rows.extend(intake::run(&stage).await);
        }
        if arguments.wants("projection") || arguments.wants("page") {
            let site = stage.site("bench_company").await;
            if arguments.wants("projection") {
                rows.extend(projection::run(&site).await);
            } else {
                projection::prepare(&site).await;
            }
            if arguments.wants("page") {
                rows.extend(page::run(&site).await);
            }
            site.end().await;
        }
        if arguments.wants("past") {
            let site = stage.site("bench_past").await;
            rows.extend(past::run(&site).await);
            site.end().await;
        }
        if arguments.wants("replay") {
            let site = stage.site("bench_replay").await;
            rows.extend(replay::run(&site).await);
            site.end().await;
        }
        if arguments.wants("archive") {
            let site = stage.site("bench_archive").await;
            rows.extend(archive::run(&site).await);
            site.end().await;
        }
        if arguments.wants("scoring") {
            rows.extend(scoring::in_memory());
            let site = stage.site("bench_scoring").await;
            rows.extend(scoring::run(&site).await);
            site.end().await;
        }
        if arguments.wants("scale") {
            rows.extend(scale::run(&stage).await);
        }
        stage.end().await;
    }
    if arguments.wants("product") {
        rows.extend(product::run(arguments.real_kafka).await);
    }
    tell(&format!("load after: {}", load()));
    rows
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| "unknown".to_owned())
}
