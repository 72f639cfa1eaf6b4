//! The largest of everything, and the check of a document before it is looked at any further.

use std::{collections::HashMap, time::Duration};

use async_graphql::{
    Name,
    parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet},
};
use infra::database::APP_CONNECTIONS_MAX;

pub const DEPTH_MAX: usize = 10;
/// Fields that an answer may hold, lists counted by their page size.
pub const COMPLEXITY_MAX: usize = 2_000;
pub const ALIASES_MAX: usize = 15;
pub const DIRECTIVES_PER_FIELD_MAX: usize = 10;
/// Fields of a document with every fragment written out: fragments of fragments multiply.
pub const SELECTIONS_MAX: usize = 2_000;
pub const BODY_BYTES_MAX: usize = 64 * 1024;
pub const PAGE_SIZE_MAX: i32 = 100;
pub const PAGE_SIZE_DEFAULT: i32 = 25;
pub const TEXT_CHARS_MAX: usize = 200;
pub const FILTER_VALUES_MAX: usize = 10;
/// Connections to the database that queries have at once: two in three of those that commands and projections of the same process share
/// with them. One page with fields that each read for themselves would take them all.
pub const READS_AT_ONCE: usize = APP_CONNECTIONS_MAX as usize * 2 / 3;
/// How long one query may take.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long a request waits for the read models to reach `Tenure-Min-Position`.
pub const FRESHNESS_WAIT: Duration = Duration::from_secs(5);
pub const FRESHNESS_POLL: Duration = Duration::from_millis(15);

/// How long a WebSocket may stay silent before `connection_init`.
pub const INIT_WAIT: Duration = Duration::from_secs(10);
pub const OPERATIONS_PER_SOCKET_MAX: usize = 20;
pub const OPERATION_ID_BYTES_MAX: usize = 128;
/// Answers that wait for a slow client; beyond, its subscriptions lag.
pub const SOCKET_BUFFER: usize = 32;
/// A client that takes nothing for this long is cut off.
pub const SOCKET_SEND_WAIT: Duration = Duration::from_secs(10);
pub const SOCKET_PING_EVERY: Duration = Duration::from_secs(20);
/// How often the token of an open WebSocket is checked again.
pub const TOKEN_CHECK_EVERY: Duration = Duration::from_secs(30);
/// Announcements that a slow subscription may be behind; beyond, the oldest are dropped.
pub const CHANGES_BUFFER: usize = 1_024;

/// Why a document is refused before validation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error("the document has more than {ALIASES_MAX} aliases")]
    TooManyAliases,
    #[error("the document has more than {SELECTIONS_MAX} fields with its fragments written out")]
    TooLarge,
    #[error("the document's fragments contain each other")]
    FragmentCycle,
}

/// What a document asks for, as far as that decides how it is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub subscribes: bool,
    /// Nothing but `__schema`, `__type` and `__typename`.
    pub introspects: bool,
}

/// Checks what async-graphql does not, before it walks the document: it visits a fragment once per spread.
///
/// # Errors
/// When the document is over a limit.
pub fn check(document: &ExecutableDocument, operation: Option<&str>) -> Result<Shape, LimitError> {
    let mut counter = Counter {
        document,
        sizes: HashMap::new(),
    };
    let mut total = 0_usize;
    let mut aliases = 0;
    let mut shape = Shape {
        subscribes: false,
        introspects: false,
    };
    for (name, definition) in document.operations.iter() {
        let set = &definition.node.selection_set.node;
        total = total.saturating_add(counter.size(set)?);
        aliases += own_aliases(set);
        if operation.is_none_or(|operation| name.is_none_or(|name| name.as_str() == operation)) {
            let introspects = set
                .items
                .iter()
                .all(|item| matches!(&item.node, Selection::Field(field) if field.node.name.node.starts_with("__")));
            shape = Shape {
                subscribes: definition.node.ty == OperationType::Subscription,
                introspects,
            };
        }
    }
    for fragment in document.fragments.values() {
        // Cycles among fragments that no operation uses are refused too.
        counter.size(&fragment.node.selection_set.node)?;
        aliases += own_aliases(&fragment.node.selection_set.node);
    }
    if aliases > ALIASES_MAX {
        return Err(LimitError::TooManyAliases);
    }
    if total > SELECTIONS_MAX {
        return Err(LimitError::TooLarge);
    }
    Ok(shape)
}

fn own_aliases(set: &SelectionSet) -> usize {
    set.items
        .iter()
        .map(|item| match &item.node {
            Selection::Field(field) => {
                usize::from(field.node.alias.is_some()) + own_aliases(&field.node.selection_set.node)
            }
            Selection::InlineFragment(fragment) => own_aliases(&fragment.node.selection_set.node),
            Selection::FragmentSpread(_) => 0,
        })
        .sum()
}

/// Sizes with fragments written out; each fragment is measured once.
struct Counter<'d> {
    document: &'d ExecutableDocument,
    /// `None`: being measured, so meeting it again is a cycle.
    sizes: HashMap<&'d Name, Option<usize>>,
}

impl<'d> Counter<'d> {
    fn size(&mut self, set: &'d SelectionSet) -> Result<usize, LimitError> {
        let mut size = 0_usize;
        for item in &set.items {
            let more = match &item.node {
                Selection::Field(field) => 1 + self.size(&field.node.selection_set.node)?,
                Selection::InlineFragment(fragment) => 1 + self.size(&fragment.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => 1 + self.fragment(&spread.node.fragment_name.node)?,
            };
            size = size.saturating_add(more).min(usize::MAX / 2);
        }
        Ok(size)
    }

    fn fragment(&mut self, name: &'d Name) -> Result<usize, LimitError> {
        match self.sizes.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(LimitError::FragmentCycle),
            None => {}
        }
        // One that is not defined is validation's to refuse.
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(0);
        };
        self.sizes.insert(name, None);
        let size = self.size(&fragment.node.selection_set.node)?;
        self.sizes.insert(name, Some(size));
        Ok(size)
    }
}

/// The page size that arguments ask for, for the cost of a query: too much counts as the most.
#[must_use]
pub fn page_cost(first: Option<i32>, last: Option<i32>) -> usize {
    let size = first.or(last).unwrap_or(PAGE_SIZE_DEFAULT).clamp(1, PAGE_SIZE_MAX);
    usize::try_from(size).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;

    #[track_caller]
    fn checked(document: &str) -> Result<Shape, LimitError> {
        check(&parse_query(document).expect("it parses"), None)
    }

    #[test]
    fn an_ordinary_document_passes() {
        assert_eq!(
            checked("{ status { logHead } }"),
            Ok(Shape {
                subscribes: false,
                introspects: false
            })
        );
        assert_eq!(
            checked("subscription { riskChanged { risk { band } } }"),
            Ok(Shape {
                subscribes: true,
                introspects: false
            })
        );
        assert_eq!(
            checked("{ __schema { types { name } } }"),
            Ok(Shape {
                subscribes: false,
                introspects: true
            })
        );
        assert_eq!(
            checked("{ __typename status { logHead } }"),
            Ok(Shape {
                subscribes: false,
                introspects: false
            })
        );
    }

    #[test]
    fn aliases_are_counted_wherever_they_stand() {
        let document = |aliases: usize| {
            let fields: String = (0..aliases).map(|index| format!("a{index}: logHead ")).collect();
            format!("{{ status {{ ...f }} }} fragment f on Status {{ ... on Status {{ {fields} }} }}")
        };
        assert!(checked(&document(ALIASES_MAX)).is_ok());
        assert_eq!(checked(&document(ALIASES_MAX + 1)), Err(LimitError::TooManyAliases));
    }

    #[test]
    fn fragments_that_multiply_are_refused_at_once() {
        let mut document = "{ ...f0 }".to_owned();
        for level in 0..40 {
            document.push_str(&format!(
                " fragment f{level} on Query {{ ...f{next} ...f{next} }}",
                next = level + 1
            ));
        }
        document.push_str(" fragment f40 on Query { status { logHead } }");
        // Written out these are 2^40 selections: whoever counts them one by one does not come back.
        assert_eq!(checked(&document), Err(LimitError::TooLarge));
    }

    #[test]
    fn a_fragment_cycle_is_refused() {
        let cycle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
        assert_eq!(checked(cycle), Err(LimitError::FragmentCycle));
        assert_eq!(
            checked("{ status { logHead } } fragment a on Query { ...a }"),
            Err(LimitError::FragmentCycle)
        );
    }

    #[test]
    fn page_costs_are_bounded_both_ways() {
        assert_eq!(
            [
                page_cost(None, None),
                page_cost(Some(50), None),
                page_cost(None, Some(7)),
                page_cost(Some(-1), None),
                page_cost(Some(1_000_000), None)
            ],
            [25, 50, 7, 1, 100]
        );
    }
}
