//! How fast the spine of the product is on this machine, beside bare peers in the same run.
//!
//! `cargo bench` measures everything; names measure only those: `cargo bench --bench spine -- log page`. With `RUST_LOG=warn`
//! the product's parts say what goes wrong in them. See `benches/README.md`.

mod appends;
mod archive;
mod bare;
mod company;
mod intake;
mod neighbours;
mod outside;
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
use stage::{Site, on_site, on_stage};

const NAMES: [&str; 11] = [
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
    "neighbours",
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
        (self.names.is_empty() && !matches!(name, "scale" | "neighbours"))
            || self.names.iter().any(|wanted| wanted == name)
    }
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    if std::env::var_os("RUST_LOG").is_some() {
        infra::telemetry::start_logging(infra::telemetry::LogFormat::Text);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(measure(&arguments));
    report::write(&rows, arguments.json)
}

async fn measure(arguments: &Arguments) -> Vec<Row> {
    tell(&format!("load before: {}", load()));
    let mut rows = Vec::new();
    let real_kafka = arguments.real_kafka;
    if arguments.wants("log") {
        rows.extend(on_stage(real_kafka, appends::run).await);
    }
    if arguments.wants("intake") {
        rows.extend(on_stage(real_kafka, intake::run).await);
    }
    if arguments.wants("projection") || arguments.wants("page") {
        let measured = async |site: &Site| {
            let mut rows = Vec::new();
            if arguments.wants("projection") {
                rows.extend(projection::run(site).await);
            } else {
                projection::prepare(site).await;
            }
            if arguments.wants("page") {
                rows.extend(page::run(site).await);
            }
            rows
        };
        rows.extend(on_site(real_kafka, "bench_company", measured).await);
    }
    if arguments.wants("past") {
        rows.extend(on_site(real_kafka, "bench_past", past::run).await);
    }
    if arguments.wants("replay") {
        rows.extend(on_site(real_kafka, "bench_replay", replay::run).await);
    }
    if arguments.wants("archive") {
        rows.extend(on_site(real_kafka, "bench_archive", archive::run).await);
    }
    if arguments.wants("scoring") {
        rows.extend(scoring::in_memory());
        rows.extend(on_site(real_kafka, "bench_scoring", scoring::run).await);
    }
    if arguments.wants("scale") {
        rows.extend(scale::run(real_kafka).await);
    }
    if arguments.wants("product") {
        rows.extend(product::run(real_kafka).await);
    }
    if arguments.wants("neighbours") {
        rows.extend(neighbours::run(real_kafka).await);
    }
    tell(&format!("load after: {}", load()));
    rows
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_else(|_| "unknown".to_owned())
}
