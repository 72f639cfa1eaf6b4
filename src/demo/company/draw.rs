//! Random draws: the few distributions that the process needs, over any generator.
//!
//! Written out rather than taken from a crate, so that a seed keeps its meaning when dependencies are upgraded.

use ml_pipeline::synthetic::process::chance_per_week;
use rand::Rng;

/// True with the given probability.
pub fn happens<R: Rng + ?Sized>(random: &mut R, probability: f64) -> bool {
    random.random::<f64>() < probability
}

/// True in one week, for something that happens `per_year` times a year at a constant rate.
pub fn happens_this_week<R: Rng + ?Sized>(random: &mut R, per_year: f64) -> bool {
    happens(random, chance_per_week(per_year))
}

/// A standard normal value (Box and Muller's transform, its first half).
pub fn normal<R: Rng + ?Sized>(random: &mut R) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

/// A log-normal value with the given median.
pub fn log_normal<R: Rng + ?Sized>(random: &mut R, median: f64, sigma: f64) -> f64 {
    median * (sigma * normal(random)).exp()
}

/// A gamma value (Marsaglia and Tsang, 2000). `shape` must be at least 1.
pub fn gamma<R: Rng + ?Sized>(random: &mut R, shape: f64, rate: f64) -> f64 {
    debug_assert!(shape >= 1.0 && rate > 0.0);
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        if v <= 0.0 {
            continue;
        }
        let u = 1.0 - random.random::<f64>();
        if u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v / rate;
        }
    }
}

/// One of `items`, each as likely as the others; nothing from an empty slice.
pub fn pick<'a, T, R: Rng + ?Sized>(random: &mut R, items: &'a [T]) -> Option<&'a T> {
    if items.is_empty() {
        return None;
    }
    items.get(random.random_range(0..items.len()))
}

/// One of `items`, by weight; the last one if rounding leaves nothing.
pub fn pick_weighted<T: Copy, R: Rng + ?Sized>(random: &mut R, items: &[(T, f64)]) -> Option<T> {
    let total: f64 = items.iter().map(|(_, weight)| weight).sum();
    let mut left = random.random::<f64>() * total;
    for (item, weight) in items {
        left -= weight;
        if left < 0.0 {
            return Some(*item);
        }
    }
    items.last().map(|(item, _)| *item)
}
