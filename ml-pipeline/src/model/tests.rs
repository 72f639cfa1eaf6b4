use proptest::prelude::*;

use super::*;

#[test]
fn nine_decimals_are_nine_decimals() {
    assert_eq!(nine_decimals(0.123_456_789_49).to_string(), "0.123456789");
    assert_eq!(nine_decimals(-2.0 / 3.0).to_string(), "-0.666666667");
    assert_eq!(nine_decimals(12_345_678.123_456_79).to_string(), "12345678.12345679");
    // To the end of what 2^53 units of a tenth can hold, for that is how whole numbers are written.
    for value in [8_358_349_509_369_663.0, 899_999_999_999_999.0] {
        let json = serde_json::to_string(&nine_decimals(value)).expect("json");
        assert_eq!(serde_json::from_str::<f64>(&json).ok(), Some(nine_decimals(value)));
    }
    assert_eq!(twelve_digits(1.0 / 3e9).to_string(), "0.000000000333333333333");
}

proptest! {
    /// Checksums of models are over what was read back.
    #[test]
    fn rounded_numbers_read_back_to_the_bit(digits in -1.0..1.0_f64, exponent in -9..22_i32) {
        let value = digits * 10_f64.powi(exponent);
        for rounded in [nine_decimals(value), twelve_digits(value)] {
            let json = serde_json::to_string(&rounded).expect("json");
            prop_assert_eq!(serde_json::from_str::<f64>(&json).expect("a number").to_bits(), rounded.to_bits(), "{}", json);
        }
        prop_assert!((nine_decimals(value) - value).abs() <= 5.1e-10 + value.abs() * 1e-12);
        prop_assert!((twelve_digits(value) - value).abs() <= 5.1e-23 + value.abs() * 1e-11);
    }

    #[test]
    fn rounding_takes_any_number(value in any::<f64>()) {
        for rounded in [nine_decimals(value), twelve_digits(value)] {
            prop_assert_eq!(rounded.is_finite(), value.is_finite());
        }
    }
}
