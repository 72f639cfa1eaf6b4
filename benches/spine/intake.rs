//! Commands that wait in `tenure.intake`, until the log holds them.

use command_service::{
    CommandService, appender,
    intake::{self, Content, Submission},
};
use domain::{
    Kind, StreamId,
    id::{CommandId, EmployeeId},
};
use schemas::codec::AnyCommand;
use tokio_util::sync::CancellationToken;

use crate::{
    company::Company,
    report::{Row, median, tell},
    stage::{Site, Stage, rate_after_first_step, until},
};

const PEOPLE: usize = 2_000;
const COMMANDS: usize = 30_000;
const ROUNDS: usize = 3;
/// Records that are sealed and sent at once while the topic is filled.
const SENT_AT_ONCE: usize = 5_000;

pub async fn run(stage: &Stage) -> Vec<Row> {
    let site = stage.site("bench_intake").await;
    let service = tenure::roles::new_command_service(&site.parts, "http://bench", CancellationToken::new());
    let mut company = Company::new(site.tenant, PEOPLE);
    let hires = (0..PEOPLE)
        .map(|index| (company.people[index], company.hire_command(index)))
        .collect();
    let mut sent = submit(&service, &site, hires).await;
    append(&service, async || {
        until("the hires", async || site.taken(appender::CONSUMER).await >= sent).await;
    })
    .await;

    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        tell(&format!("intake: round {} of {ROUNDS}, {COMMANDS} commands", round + 1));
        let commands = (0..COMMANDS)
            .map(|nth| (company.somebody(), company.command(Company::day(nth, COMMANDS))))
            .collect();
        sent += submit(&service, &site, commands).await;
        let before = site.head().await;
        append(&service, async || {
            rates.push(rate_after_first_step(sent, async || site.taken(appender::CONSUMER).await).await);
        })
        .await;
        assert_eq!(
            site.head().await - before,
            COMMANDS as i64,
            "every command is one event"
        );
    }
    site.assert_nothing_parked().await;
    let target = if site.real_kafka { 8_000.0 } else { 5_000.0 };
    site.end().await;
    vec![Row::new("intake to log", median(rates), "commands/s").at_least(target)]
}

/// Runs the appender while `work` lasts.
async fn append(service: &CommandService, work: impl AsyncFnOnce()) {
    let shutdown = CancellationToken::new();
    let appending = tokio::spawn(appender::run(service.clone(), shutdown.clone()));
    work().await;
    shutdown.cancel();
    appending.await.expect("no panic").expect("the appender ends well");
}

/// Sends commands as the product does; answers how many.
async fn submit(service: &CommandService, site: &Site, commands: Vec<(EmployeeId, domain::employee::Command)>) -> i64 {
    let count = commands.len() as i64;
    for some in commands.chunks(SENT_AT_ONCE) {
        let submissions = some
            .iter()
            .map(|(employee, command)| {
                let id = CommandId::from_uuid(infra::clock::new_id());
                Submission {
                    id,
                    stream: StreamId::new(site.tenant, Kind::Employee, *employee),
                    actor: "user:bench".to_owned(),
                    correlation: id.uuid(),
                    traceparent: None,
                    backfill: false,
                    fingerprint: None,
                    content: Content::Command(Box::new(AnyCommand::Employee(command.clone()))),
                }
            })
            .collect();
        intake::submit(&service.bulk, &service.keyring, submissions)
            .await
            .expect("the intake takes it");
    }
    count
}
