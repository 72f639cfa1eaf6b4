//! A random number generator of our own and the few distributions that the process needs: no upgrade of a dependency may
//! change the prior.

/// xoshiro256++, seeded through splitmix64 (Blackman and Vigna, 2019).
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut at = seed;
        let mut next = || {
            at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (at ^ (at >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        Self {
            state: [next(), next(), next(), next()],
        }
    }

    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// True in one week, for something that happens `per_year` times a year at a constant rate.
    pub fn happens_this_week(&mut self, per_year: f64) -> bool {
        self.happens(super::process::chance_per_week(per_year))
    }

    /// A whole number from `from` up to and including `to`.
    pub fn whole(&mut self, from: u16, to: u16) -> u16 {
        from + (self.unit() * f64::from(to - from + 1)) as u16
    }

    /// A place in a list of `length`, which is not empty.
    pub fn below(&mut self, length: usize) -> usize {
        // Rounding may make the product the length itself.
        ((self.unit() * length as f64) as usize).min(length.saturating_sub(1))
    }

    /// Brings the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = (self.unit() * (end + 1) as f64) as usize;
            items.swap(end, other);
        }
    }

    /// A standard normal value (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A gamma value with mean 1 (Marsaglia and Tsang); `shape` is at least 1.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        loop {
            let x = self.normal();
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && (1.0 - self.unit()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v / shape;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_keeps_its_meaning() {
        let mut random = Random::seeded(0);
        assert_eq!(random.bits(), 0x5317_5d61_490b_23df);
        let mut random = Random::seeded(7);
        let (mean, gamma) = (0..20_000).fold((0.0, 0.0), |(n, g), _| {
            (n + random.normal(), g + random.gamma(1.0 / 0.35))
        });
        assert!((mean / 20_000.0).abs() < 0.02 && (gamma / 20_000.0 - 1.0).abs() < 0.02);
    }
}
