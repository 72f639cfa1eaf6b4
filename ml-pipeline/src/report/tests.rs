use super::*;
use crate::{dataset::Dataset, prior, shapes};

#[test]
fn draft() {
    let artifact = prior::prior().expect("the committed prior");
    let company = prior::company(7, 300);
    let dataset = Dataset::build(&company.histories(), company.ends_on(), &mut |_| {});
    let rows: Vec<Vec<f64>> = dataset.rows.iter().map(|row| row.x.clone()).collect();
    let charts = shapes::shapes(&artifact, &rows);
    let text = html(&Report {
        artifact: &artifact,
        company: None,
        shapes: &charts,
        pairs: &[],
        scores: None,
        audits: &[],
    });
    std::fs::write("/tmp/report.html", text).expect("written");
}
