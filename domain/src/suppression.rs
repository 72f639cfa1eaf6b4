//! Which groups of a table are too small to show, such that subtraction does not bring them back.

use crate::policy::GROUP_SIZE_MIN;

/// What to hide of a table whose total is shown beside its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub groups: Vec<bool>,
    /// The hidden people could not be hidden among enough others.
    pub total: bool,
}

impl Hidden {
    /// A viewer who may see small groups.
    #[must_use]
    pub fn nothing(groups: usize) -> Self {
        Self {
            groups: vec![false; groups],
            total: false,
        }
    }
}

/// Hides every group of fewer than [`GROUP_SIZE_MIN`] people (and those in `hidden_already`), then the next smallest, until
/// what the total minus the visible groups tells is about two groups and [`GROUP_SIZE_MIN`] people at least. An empty
/// group is about nobody: it is shown, and hides nobody.
#[must_use]
pub fn hide(sizes: &[i64], hidden_already: &[bool]) -> Hidden {
    let mut groups: Vec<bool> = sizes
        .iter()
        .enumerate()
        .map(|(index, &size)| size > 0 && (size < GROUP_SIZE_MIN || hidden_already.get(index) == Some(&true)))
        .collect();
    loop {
        let count = groups.iter().filter(|hidden| **hidden).count();
        let people: i64 = sizes
            .iter()
            .zip(&groups)
            .filter(|(_, hidden)| **hidden)
            .map(|(size, _)| size)
            .sum();
        if count == 0 || (count >= 2 && people >= GROUP_SIZE_MIN) {
            return Hidden { groups, total: false };
        }
        let next = (0..sizes.len())
            .filter(|&index| !groups[index] && sizes[index] > 0)
            .min_by_key(|&index| sizes[index]);
        match next {
            Some(index) => groups[index] = true,
            // Everyone is hidden already. The total is about all of them.
            None => {
                return Hidden {
                    groups,
                    total: people < GROUP_SIZE_MIN || count == 1,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(sizes: &[i64]) -> (Vec<usize>, bool) {
        let hidden = hide(sizes, &[]);
        (
            (0..sizes.len()).filter(|&index| hidden.groups[index]).collect(),
            hidden.total,
        )
    }

    #[test]
    fn large_groups_are_shown() {
        assert_eq!(hidden(&[5, 30, 9]), (vec![], false));
        assert_eq!(hidden(&[]), (vec![], false));
    }

    #[test]
    fn one_small_group_takes_the_next_smallest_with_it() {
        assert_eq!(hidden(&[30, 4, 9, 12]), (vec![1, 2], false));
    }

    #[test]
    fn two_small_groups_that_are_still_few_people_take_a_third() {
        assert_eq!(hidden(&[30, 1, 2, 12]), (vec![1, 2, 3], false));
        assert_eq!(hidden(&[30, 3, 2, 12]), (vec![1, 2], false));
    }

    #[test]
    fn empty_groups_neither_need_nor_give_cover() {
        assert_eq!(hidden(&[0, 30, 4]), (vec![1, 2], false));
        assert_eq!(hidden(&[0, 30]), (vec![], false));
    }

    #[test]
    fn without_enough_others_the_total_goes_too() {
        assert_eq!(hidden(&[3]), (vec![0], true));
        assert_eq!(hidden(&[1, 2]), (vec![0, 1], true));
    }

    #[test]
    fn what_one_table_hides_another_of_the_same_people_hides_too() {
        let hidden = hide(&[30, 9, 12], &[false, true, false]);
        assert_eq!(hidden.groups, [false, true, true]);
    }

    /// Over many tables: subtraction never yields fewer than the least number of people, nor a single group.
    #[test]
    fn subtraction_never_singles_out() {
        for seed in 0..5_000_i64 {
            let sizes: Vec<i64> = (0..(seed % 7))
                .map(|index| (seed * 31 + index * index * 17 + index) % 13)
                .collect();
            let hidden = hide(&sizes, &[]);
            let people: i64 = sizes
                .iter()
                .zip(&hidden.groups)
                .filter(|(_, hidden)| **hidden)
                .map(|(size, _)| size)
                .sum();
            for (size, hidden) in sizes.iter().zip(&hidden.groups) {
                assert!(*hidden || *size == 0 || *size >= GROUP_SIZE_MIN);
            }
            let count = hidden.groups.iter().filter(|hidden| **hidden).count();
            assert!(
                hidden.total || count == 0 || (count >= 2 && people >= GROUP_SIZE_MIN),
                "{sizes:?}"
            );
        }
    }
}
