//! Logs and metrics. Neither ever holds personal data: identifiers only.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::clock;

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

/// What is logged unless `RUST_LOG` says otherwise: our own parts, and others' warnings.
const FILTER_DEFAULT: &str = "warn,tenure=info,command_service=info,projection_workers=info,query_api=info,infra=info,ml_pipeline=info,rdkafka=off,librdkafka=off,tansu_broker=off,tansu_storage=off,tansu_service=off,tansu_sans_io=off,tansu_schema=off,rama=off";

/// Starts logging to standard error. A second call changes nothing.
pub fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER_DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Text => registry
            .with(fmt::layer().with_target(false).with_writer(std::io::stderr))
            .try_init(),
    };
    drop(started); // somebody (a test) started it before
}

/// The header that names a request, in questions and answers.
pub const REQUEST_ID: &str = "x-request-id";

/// What a request is called in the logs and in its answer: as the caller says, if that is a plain word; otherwise a new one.
#[must_use]
pub fn request_id(given: Option<&str>) -> String {
    let plain = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    given
        .filter(plain)
        .map_or_else(|| clock::new_id().to_string(), str::to_owned)
}

/// The process's metrics, to render for Prometheus.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts collecting; every call in a process answers with the same collector.
    ///
    /// # Errors
    /// When another recorder was installed before.
    pub fn start() -> Result<Self, BuildError> {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        if let Some(handle) = HANDLE.get() {
            return Ok(Self(handle.clone()));
        }
        let seconds = &[
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ];
        let sizes = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), seconds)?
            .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), sizes)?
            .install_recorder()?;
        Ok(Self(HANDLE.get_or_init(|| handle).clone()))
    }

    /// The exposition text.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_request_id_is_taken_if_it_is_plain() {
        assert_eq!(request_id(Some("abc-1")), "abc-1");
        for refused in ["", "a b", "Ada\u{301}", &"x".repeat(65)] {
            assert_ne!(request_id(Some(refused)), refused);
        }
        assert_ne!(request_id(None), request_id(None));
    }
}
