//! How well a score can do at best where the true probabilities are known, and how far a model stays behind it.
//!
//! Nothing here looks at a label: each person `i` counts as somebody who leaves with the weight `p_i` and as somebody who
//! stays with `1 - p_i`, so that the figures carry none of the luck of one draw (prediction.md, section 5).

/// The AUC that `score` has on average over all draws of labels from the true probabilities `p`: the weight of the pairs in
/// which the one who leaves has the higher score, ties counting half, over the weight of all pairs. Nothing if nobody can
/// leave or nobody can stay.
///
/// `score` and `p` are of the same people in the same order.
#[must_use]
pub fn expected_auc(score: &[f64], p: &[f64]) -> Option<f64> {
    let mut sorted: Vec<(f64, f64)> = score.iter().copied().zip(p.iter().copied()).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let leaving: f64 = p.iter().sum();
    let staying: f64 = p.iter().map(|p| 1.0 - p).sum();
    if leaving <= 0.0 || staying <= 0.0 {
        return None;
    }
    let (mut below, mut won) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let left: f64 = tied.iter().map(|(_, p)| p).sum();
        let stayed = tied.len() as f64 - left;
        won += left * (below + stayed / 2.0);
        below += stayed;
    }
    Some(won / (leaving * staying))
}

/// AUC*: the highest AUC that any score can have on average, which is that of the true probabilities themselves.
#[must_use]
pub fn optimum_auc(p: &[f64]) -> Option<f64> {
    expected_auc(p, p)
}

/// How much AUC `score` gives away against the optimum: 0 for one that orders people as the truth does.
#[must_use]
pub fn regret(score: &[f64], p: &[f64]) -> Option<f64> {
    Some(optimum_auc(p)? - expected_auc(score, p)?)
}

/// How much larger the Brier score of the probabilities `q` is than that of the true ones, on average over all draws of
/// labels: exactly the mean of `(q - p)²`. 0 for nobody.
#[must_use]
pub fn excess_brier(q: &[f64], p: &[f64]) -> f64 {
    let squares: f64 = q.iter().zip(p).map(|(q, p)| (q - p).powi(2)).sum();
    squares / (p.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics, synthetic::Random};

    /// The definition, pair by pair.
    fn by_brute_force(score: &[f64], p: &[f64]) -> f64 {
        let (mut won, mut all) = (0.0, 0.0);
        for (score_i, p_i) in score.iter().zip(p) {
            for (score_j, p_j) in score.iter().zip(p) {
                let pair = p_i * (1.0 - p_j);
                all += pair;
                won += pair
                    * if score_i > score_j {
                        1.0
                    } else if score_i == score_j {
                        0.5
                    } else {
                        0.0
                    };
            }
        }
        won / all
    }

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn sorting_counts_the_same_pairs_as_the_definition() {
        let mut random = Random::seeded(3);
        for tied in [false, true] {
            let p: Vec<f64> = (0..300)
                .map(|_| {
                    let p = 0.6 * random.unit();
                    if tied { (p * 10.0).round() / 10.0 } else { p }
                })
                .collect();
            let score: Vec<f64> = p.iter().map(|p| (p * 4.0 + random.normal()).round()).collect();
            close(optimum_auc(&p).expect("some leave"), by_brute_force(&p, &p));
            close(
                expected_auc(&score, &p).expect("some leave"),
                by_brute_force(&score, &p),
            );
            let regret = regret(&score, &p).expect("some leave");
            assert!(regret > 0.05, "{regret}");
        }
    }

    #[test]
    fn by_hand() {
        // (.5 over .1) .5 * .9 = .45; ties .5 * .5 / 2 + .1 * .9 / 2 = .17; in all .6 * 1.4 = .84.
        close(optimum_auc(&[0.1, 0.5]).expect("some leave"), 0.62 / 0.84);
        close(regret(&[2.0, 2.0], &[0.1, 0.5]).expect("some leave"), 0.62 / 0.84 - 0.5);
        close(excess_brier(&[0.3, 0.5], &[0.1, 0.5]), 0.02);
        assert_eq!(optimum_auc(&[0.0, 0.0]), None);
        assert_eq!(optimum_auc(&[1.0]), None);
    }

    #[test]
    fn nothing_beats_the_truth_and_any_rising_function_of_it_is_as_good() {
        let mut random = Random::seeded(4);
        let p: Vec<f64> = (0..500).map(|_| random.unit().powi(3)).collect();
        let stretched: Vec<f64> = p.iter().map(|p| p.sqrt() - 7.0).collect();
        close(regret(&stretched, &p).expect("some leave"), 0.0);
        for _ in 0..20 {
            let blurred: Vec<f64> = p.iter().map(|p| p + 0.05 * random.normal()).collect();
            assert!(regret(&blurred, &p).expect("some leave") > 0.0);
        }
    }

    #[test]
    fn drawn_labels_agree_on_average() {
        let mut random = Random::seeded(5);
        let p: Vec<f64> = (0..2_000).map(|_| random.unit().powi(2)).collect();
        let (mut auc, mut brier) = (0.0, 0.0);
        for _ in 0..200 {
            let judged: Vec<metrics::Judged> = p.iter().map(|p| (0.5 * p, random.happens(*p))).collect();
            let truth: Vec<metrics::Judged> = p.iter().zip(&judged).map(|(p, (_, y))| (*p, *y)).collect();
            auc += metrics::roc_auc(&judged).expect("both outcomes") / 200.0;
            brier += (metrics::brier(&judged) - metrics::brier(&truth)) / 200.0;
        }
        let half: Vec<f64> = p.iter().map(|p| 0.5 * p).collect();
        assert!((auc - optimum_auc(&p).expect("some leave")).abs() < 0.002, "{auc}");
        assert!((brier - excess_brier(&half, &p)).abs() < 0.002, "{brier}");
    }
}
