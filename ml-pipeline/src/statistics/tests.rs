use proptest::prelude::*;

use super::*;

/// Relative to the expected value.
#[track_caller]
fn close(found: f64, expected: f64, error: f64) {
    assert!(
        (found - expected).abs() <= error * expected.abs(),
        "{found} is not {expected}"
    );
}

const fn part(some: usize, of: usize) -> Part {
    Part { some, of }
}

#[test]
fn the_gamma_function_is_a_factorial_between_the_factorials() {
    // Γ(1/2) is the square root of pi; the others are scipy's.
    close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13);
    close(ln_gamma(100.5), 361.435_540_467_777_57, 1e-14);
    close(ln_gamma(1e5), 1_051_287.708_973_656_9, 1e-14);
    let mut factorial = 1.0_f64;
    for n in 1..=20_usize {
        factorial *= n as f64;
        assert!((ln_factorial(n) - factorial.ln()).abs() < 1e-13, "{n}");
    }
    assert!(ln_factorial(0).abs() < 1e-13);
}

#[test]
fn the_incomplete_gamma_function_is_scipys_in_both_parts() {
    let cases = [
        (0.5, 0.2, 0.472_910_743_134_461_96, 0.527_089_256_865_538_1),
        (0.5, 3.0, 0.985_694_121_564_570_4, 0.014_305_878_435_429_641),
        (1.0, 1.0, 0.632_120_558_828_557_7, 0.367_879_441_171_442_2),
        (5.0, 3.0, 0.184_736_755_476_227_87, 0.815_263_244_523_772_2),
        (5.0, 12.0, 0.992_399_609_318_933, 0.007_600_390_681_066_992),
        (50.0, 40.0, 0.070_335_066_659_394_94, 0.929_664_933_340_605_1),
        (50.0, 75.0, 0.999_096_067_957_645_9, 0.000_903_932_042_354_018_4),
        (1000.0, 1050.0, 0.941_328_888_622_681_9, 0.058_671_111_377_318_06),
    ];
    for (shape, x, below, above) in cases {
        let found = incomplete_gamma(shape, x);
        close(found.0, below, 1e-12);
        close(found.1, above, 1e-12);
    }
    close(incomplete_gamma(1e5, 1.004e5).1, 0.103_064_381_253_006_39, 1e-9);
    assert_eq!(incomplete_gamma(2.0, 0.0), (0.0, 1.0));
    assert_eq!(incomplete_gamma(2.0, f64::INFINITY), (1.0, 0.0));
}

#[test]
fn chi_square_quantiles_are_those_of_the_tables() {
    // The first column of any printed table, to its three decimals.
    for (freedom, printed) in [
        (1.0, 3.841),
        (2.0, 5.991),
        (5.0, 11.070),
        (10.0, 18.307),
        (30.0, 43.773),
    ] {
        assert!((chi_square_quantile(0.95, freedom) - printed).abs() < 5e-4, "{freedom}");
    }
    let scipy = [
        (0.95, 1.0, 3.841_458_820_694_124),
        (0.99, 9.0, 21.665_994_333_461_924),
        (0.025, 2.0, 0.050_635_615_968_579_75),
        (0.5, 4.0, 3.356_693_980_033_322_4),
        (0.001, 10.0, 1.478_743_463_835_664_7),
        (0.975, 202.0, 243.253_587_584_852_77),
        (0.975, 20_002.0, 20_395.903_249_322_946),
        (1e-6, 3.0, 0.000_241_810_487_201_242_64),
        (0.95, 0.5, 2.420_232_274_889_525_7),
    ];
    for (below, freedom, expected) in scipy {
        close(chi_square_quantile(below, freedom), expected, 1e-9);
    }
    assert_eq!(chi_square_quantile(0.0, 3.0), 0.0);
    assert_eq!(chi_square_quantile(1.0, 3.0), f64::INFINITY);
    close(chi_square_above(3.841_458_820_694_124, 1.0), 0.05, 1e-12);
}

#[test]
fn poisson_bounds_are_garwoods() {
    // Garwood's table of 1936 (as reprinted in Pearson and Hartley, table 40), 95 %.
    for (count, low, high) in [
        (0, 0.0, 3.69),
        (1, 0.0253, 5.57),
        (2, 0.242, 7.22),
        (5, 1.62, 11.67),
        (10, 4.80, 18.39),
        (30, 20.24, 42.83),
    ] {
        let found = poisson_bounds(count, 0.95);
        assert!((found.low - low).abs() < 5.1e-3, "{count}: {found:?}");
        assert!((found.high - high).abs() < 5.1e-3, "{count}: {found:?}");
    }
    let hundred = poisson_bounds(100, 0.95);
    close(hundred.low, 81.363_991_250_923_14, 1e-9);
    close(hundred.high, 121.626_793_792_426_38, 1e-9);

    let ratio = observed_over_expected_bounds(10, 8.0, 0.95).expect("some expected");
    close(ratio.low, 4.795_388_696_132_433_5 / 8.0, 1e-9);
    close(ratio.high, 18.390_356_042_017_78 / 8.0, 1e-9);
    assert!(ratio.contains(1.0) && !ratio.contains(2.5));
    assert_eq!(observed_over_expected_bounds(3, 0.0, 0.95), None);
}

#[test]
fn fishers_test_knows_the_lady_and_the_convicts() {
    // The lady who tasted eight cups of tea (Fisher, 1935): 34 of 70 ways.
    close(fisher_exact(part(3, 4), part(1, 4)), 34.0 / 70.0, 1e-12);
    // Twins of criminals (Fisher, 1962), the example of R's fisher.test: p = 0.0005367.
    close(
        fisher_exact(part(2, 12), part(15, 18)),
        0.000_536_724_119_143_435_7,
        1e-10,
    );
    // Scipy's values.
    close(
        fisher_exact(part(1, 10), part(11, 14)),
        0.002_759_456_185_220_083_6,
        1e-10,
    );
    close(
        fisher_exact(part(10, 100), part(25, 100)),
        0.008_503_571_478_623_954,
        1e-10,
    );
    close(
        fisher_exact(part(300, 1_000), part(3_000, 9_000)),
        0.033_473_358_105_281_86,
        1e-8,
    );
    close(fisher_exact(part(8, 10), part(1, 6)), 0.034_965_034_965_034_975, 1e-10);
    close(fisher_exact(part(5, 5), part(1, 5)), 1.0 / 21.0, 1e-10);
    close(fisher_exact(part(0, 5), part(5, 5)), 2.0 / 252.0, 1e-10);
}

#[test]
fn fishers_test_of_nothing_finds_nothing() {
    assert_eq!(fisher_exact(part(0, 10), part(0, 10)), 1.0);
    assert_eq!(fisher_exact(part(0, 0), part(3, 7)), 1.0);
    assert_eq!(fisher_exact(part(0, 0), part(0, 0)), 1.0);
    // Further out than the smallest number that can be told from zero.
    assert_eq!(fisher_exact(part(2_000, 50_000), part(3_800, 4_800)), 0.0);
}

/// Every table with these margins, by Pascal's triangle in whole numbers.
fn fisher_by_counting(first: Part, second: Part) -> f64 {
    fn choose(n: usize, k: usize) -> u128 {
        (0..k).fold(1, |ways, i| ways * (n - i) as u128 / (i + 1) as u128)
    }
    let some = first.some + second.some;
    let ways = |k: usize| choose(first.of, k) * choose(second.of, some - k);
    let tables = some.saturating_sub(second.of)..=some.min(first.of);
    let no_likelier: u128 = tables.clone().map(ways).filter(|w| *w <= ways(first.some)).sum();
    no_likelier as f64 / tables.map(ways).sum::<u128>() as f64
}

proptest! {
    #[test]
    fn fishers_test_counts_all_tables((a, m, b, n) in (0..=25_usize, 0..=25_usize).prop_flat_map(|(m, n)| (0..=m, Just(m), 0..=n, Just(n)))) {
        let found = fisher_exact(part(a, m), part(b, n));
        prop_assert!((found - fisher_by_counting(part(a, m), part(b, n))).abs() < 1e-10);
        prop_assert!((found - fisher_exact(part(b, n), part(a, m))).abs() < 1e-10);
    }

    #[test]
    fn a_quantile_has_its_share_below_it(below in 0.001..0.999_f64, freedom in 0.2..400.0_f64) {
        let value = chi_square_quantile(below, freedom);
        prop_assert!((1.0 - chi_square_above(value, freedom) - below).abs() < 1e-10);
    }

    /// What Garwood's bounds are defined by: at the low bound, so many or more have a chance of one tail; at the high bound, so
    /// many or fewer.
    #[test]
    fn poisson_bounds_leave_one_tail_on_either_side(count in 1..60_usize) {
        let bounds = poisson_bounds(count, 0.9);
        let at_most = |count: usize, mean: f64| -> f64 {
            (0..=count).map(|k| (k as f64 * mean.ln() - mean - ln_factorial(k)).exp()).sum()
        };
        prop_assert!((1.0 - at_most(count - 1, bounds.low) - 0.05).abs() < 1e-9);
        prop_assert!((at_most(count, bounds.high) - 0.05).abs() < 1e-9);
    }
}
