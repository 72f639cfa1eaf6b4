//! What follows for colleagues: whoever leaves otherwise than they did is heard of otherwise.
//!
//! Both worlds are asked who should have been told of which exit, by the rule of [`crate::teams`]; only the difference is changed, so that
//! what was told really stays as it was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{
    Date,
    employee::{ColleagueLeft, Event, Relation},
    id::EmployeeId,
};
use infra::{
    database::{Connection, DatabaseError},
    sealing::Keyring,
};
use uuid::Uuid;

use super::{changes::Plan, history::Person};
use crate::teams::Facts;

/// Whoever is to know of whose exit on which day.
type Told = BTreeSet<(Uuid, Uuid, Date, Relation)>;

/// Changes what colleagues hear.
pub async fn follow(plan: &mut Plan<'_>, connection: &mut Connection, keyring: &Keyring) -> Result<(), DatabaseError> {
    let changed: BTreeMap<Uuid, Facts> = plan
        .people
        .iter()
        .filter(|(_, person)| person.is_changed())
        .map(|(id, person)| (*id, person.facts()))
        .filter(|(id, facts)| {
            plan.history
                .people
                .get(id)
                .is_none_or(|subject| subject.facts != *facts)
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let real = |id: &Uuid| plan.history.people.get(id).map(|subject| &subject.facts);
    let happened = told(plan.history.people.iter().map(|(id, subject)| (*id, &subject.facts)));
    let ids = plan.history.people.keys();
    let what_if = told(ids.filter_map(|id| Some((*id, changed.get(id).or_else(|| real(id))?))));
    let from = plan.script.from.value;
    let of = |one: &Told, other: &Told| -> Vec<(Uuid, Uuid, Date, Relation)> {
        let only = one.difference(other).copied();
        only.filter(|(_, _, on, _)| *on >= from).collect()
    };
    let (gone, new) = (of(&happened, &what_if), of(&what_if, &happened));
    let mut concerned: Vec<Uuid> = gone.iter().chain(&new).map(|(teammate, ..)| *teammate).collect();
    concerned.sort_unstable();
    concerned.dedup();
    plan.load(connection, keyring, &concerned).await?;
    for (teammate, colleague, on, _) in gone {
        if let Some(person) = plan.people.get_mut(&teammate) {
            unhear(person, EmployeeId::from_uuid(colleague), on);
        }
    }
    for (teammate, colleague, on, relation) in new {
        let Some(mut person) = plan.people.remove(&teammate) else {
            continue;
        };
        let exit = ColleagueLeft {
            colleague: EmployeeId::from_uuid(colleague),
            relation,
            on,
        };
        if person
            .real
            .first()
            .is_some_and(|known| known.event.effective_on() <= on)
        {
            plan.insert(&mut person, teammate, Event::ColleagueLeft(exit));
        }
        plan.people.insert(teammate, person);
    }
    Ok(())
}

/// Takes out what was heard of an exit, and that it was taken back.
fn unhear(person: &mut Person, colleague: EmployeeId, on: Date) {
    person.steps.retain(|_, step| {
        let left = matches!(&step.event, Event::ColleagueLeft(exit) if (exit.colleague, exit.on) == (colleague, on));
        let stayed =
            matches!(&step.event, Event::ColleagueStayed(exit) if (exit.colleague, exit.on) == (colleague, on));
        !left && !stayed
    });
}

/// Who should know of which exits: whoever was in a team on the day of an exit that the team is told of.
fn told<'f>(people: impl Iterator<Item = (Uuid, &'f Facts)> + Clone) -> Told {
    let mut teams: HashMap<Uuid, Vec<(Uuid, Date, Date)>> = HashMap::new();
    for (id, facts) in people.clone() {
        for membership in facts.memberships() {
            teams
                .entry(membership.team)
                .or_default()
                .push((id, membership.from_on, membership.to_on));
        }
    }
    let mut told = Told::new();
    for (id, facts) in people {
        for exit in facts.exits(EmployeeId::from_uuid(id)) {
            for (teammate, from, to) in teams.get(&exit.team).into_iter().flatten() {
                if *from <= exit.exit_on && exit.exit_on < *to && *teammate != id {
                    told.insert((*teammate, id, exit.exit_on, exit.relation));
                }
            }
        }
    }
    told
}
