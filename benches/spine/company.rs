//! What happens in a company, at the rates of `facts/prediction.md`, section 5.

use chrono::{Days, NaiveDate};
use domain::{
    Personal,
    employee::{
        Absence, Assessment, Command, Contact, Event, Hired, Job, Moved, Name, Note, Overtime, PayChanged, Recognition,
        Review, Rows, Snapshot, Source, Standing, Survey, WeeklyMinutes,
    },
    id::{ConnectionId, EmployeeId, TenantId},
    money::{Currency, Money, PayPeriod, PayRate},
};
use infra::clock;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tenure::demo::company::draw::pick_weighted;

/// Kinds of events, by how often one happens to a person in a year.
const RATES: &[(Kind, f64)] = &[
    (Kind::Overtime, 10.0),
    (Kind::Absence, 4.0),
    (Kind::Assessment, 3.9),
    (Kind::Recognition, 2.9),
    (Kind::Survey, 2.8),
    (Kind::Review, 1.95),
    (Kind::Pay, 1.07),
    (Kind::Note, 0.8),
    (Kind::Contact, 0.75),
    (Kind::Manager, 0.3),
    (Kind::Transfer, 0.12),
    (Kind::Promotion, 0.08),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Overtime,
    Absence,
    Assessment,
    Recognition,
    Survey,
    Review,
    Pay,
    Note,
    Contact,
    Manager,
    Transfer,
    Promotion,
}

/// People, and chance.
pub struct Company {
    pub people: Vec<EmployeeId>,
    connection: ConnectionId,
    random: ChaCha8Rng,
}

impl Company {
    pub fn new(tenant: TenantId, people: usize) -> Self {
        let connection = ConnectionId::derive(tenant, "bamboohr", "bench");
        Self {
            people: (0..people)
                .map(|index| EmployeeId::derive(tenant, connection, &index.to_string()))
                .collect(),
            connection,
            random: ChaCha8Rng::seed_from_u64(7),
        }
    }

    pub fn somebody(&mut self) -> EmployeeId {
        *self.people.choose(&mut self.random).expect("people")
    }

    /// The day on which the `nth` of `of` events is true, within the last year.
    pub fn day(nth: usize, of: usize) -> NaiveDate {
        let ago = 365 - (nth * 364 / of.max(1)) as u64;
        clock::today() - Days::new(ago)
    }

    /// What an HRIS says of a new record.
    pub fn hire_command(&mut self, index: usize) -> Command {
        let on = clock::today() - Days::new(self.random.random_range(400..2_000));
        let source = self.source(index);
        let snapshot = Snapshot {
            hired_on: Some(on),
            name: Some(Personal::Open(self.name(index))),
            contact: Some(Personal::Open(contact(index))),
            standing: Rows::all(vec![(on, Standing::Working)]),
            jobs: Rows::all(vec![(on, self.job())]),
            managers: Rows::all(vec![(on, Some(self.manager()))]),
            pay: Rows::all(vec![(on, Personal::Open(self.pay()))]),
            ..Snapshot::silent(source, clock::today())
        };
        Command::Synchronise(Box::new(snapshot))
    }

    pub fn hired(&mut self, index: usize) -> Event {
        Event::Hired(Hired {
            on: clock::today() - Days::new(self.random.random_range(400..2_000)),
            source: Some(self.source(index)),
            name: Personal::Open(self.name(index)),
            contact: Personal::Open(contact(index)),
            job: self.job(),
            manager: Some(self.manager()),
            pay: Some(Personal::Open(self.pay())),
            hours: Some(WeeklyMinutes(2_400)),
        })
    }

    /// Something that happens on a day.
    pub fn event(&mut self, on: NaiveDate) -> Event {
        match pick_weighted(&mut self.random, RATES).expect("rates") {
            Kind::Overtime => Event::OvertimeRecorded(self.overtime(on)),
            Kind::Absence => Event::AbsenceRecorded(self.absence(on)),
            Kind::Assessment => Event::AssessmentCompleted(self.assessment(on)),
            Kind::Recognition => Event::RecognitionGiven(self.recognition(on)),
            Kind::Survey => Event::SurveyAnswered(self.survey(on)),
            Kind::Review => Event::ReviewRecorded(self.review(on)),
            Kind::Pay => Event::PayChanged(PayChanged {
                from: None,
                to: Personal::Open(self.pay()),
                reason: Some(Personal::Open("Merit".to_owned())),
                on,
            }),
            Kind::Note => Event::NoteWritten(self.note(on)),
            Kind::Contact => {
                let index = self.random.random_range(0..self.people.len());
                Event::ContactChanged {
                    name: Personal::Open(self.name(index)),
                    contact: Personal::Open(contact(index)),
                    on,
                }
            }
            Kind::Manager => Event::ManagerChanged {
                from: None,
                to: Some(self.manager()),
                on,
            },
            Kind::Transfer => Event::Transferred(self.moved(on)),
            Kind::Promotion => Event::Promoted(self.moved(on)),
        }
    }

    /// Something that a user tells of a person.
    pub fn command(&mut self, on: NaiveDate) -> Command {
        match pick_weighted(&mut self.random, RATES).expect("rates") {
            Kind::Overtime => Command::RecordOvertime(self.overtime(on)),
            Kind::Absence => Command::RecordAbsence(self.absence(on)),
            Kind::Assessment => Command::CompleteAssessment(self.assessment(on)),
            Kind::Recognition => Command::GiveRecognition(self.recognition(on)),
            Kind::Survey => Command::AnswerSurvey(self.survey(on)),
            Kind::Review => Command::RecordReview(self.review(on)),
            Kind::Note | Kind::Pay | Kind::Contact | Kind::Manager | Kind::Transfer | Kind::Promotion => {
                Command::WriteNote(self.note(on))
            }
        }
    }

    fn overtime(&mut self, on: NaiveDate) -> Overtime {
        Overtime {
            on,
            minutes: self.random.random_range(15..600),
        }
    }

    fn absence(&mut self, on: NaiveDate) -> Absence {
        Absence {
            on,
            days: self.random.random_range(1..5),
            kind: Some(Personal::Open("Sick".to_owned())),
        }
    }

    fn assessment(&mut self, on: NaiveDate) -> Assessment {
        Assessment {
            on,
            name: "Food safety".to_owned(),
            score: Personal::Open(self.random.random_range(40..=100)),
        }
    }

    fn recognition(&mut self, on: NaiveDate) -> Recognition {
        Recognition {
            on,
            from: self.somebody(),
        }
    }

    fn survey(&mut self, on: NaiveDate) -> Survey {
        Survey {
            on,
            survey: "Pulse".to_owned(),
            score: Personal::Open(self.random.random_range(0..=10)),
        }
    }

    fn review(&mut self, on: NaiveDate) -> Review {
        Review {
            on,
            rating: Personal::Open(self.random.random_range(1..=5)),
            reviewer: Some(self.manager()),
        }
    }

    fn note(&mut self, on: NaiveDate) -> Note {
        let words = self.random.random_range(5..40);
        Note {
            on,
            text: Personal::Open("Talked about the rota. ".repeat(words / 4 + 1)),
        }
    }

    fn moved(&mut self, on: NaiveDate) -> Moved {
        Moved {
            from: self.job(),
            to: self.job(),
            on,
        }
    }

    fn manager(&mut self) -> EmployeeId {
        let managers = (self.people.len() / 9).max(1);
        self.people[self.random.random_range(0..managers)]
    }

    fn pay(&mut self) -> PayRate {
        PayRate {
            amount: Money {
                minor_units: self.random.random_range(1_500..6_000),
                currency: Currency::USD,
            },
            per: PayPeriod::Hour,
        }
    }

    fn job(&mut self) -> Job {
        let number = self.random.random_range(0..40);
        Job {
            title: Some(format!("Associate {}", number % 8)),
            department: Some(format!("Department {}", number % 12)),
            division: Some(format!("Region {}", number % 4)),
            location: Some(format!("Store {number}")),
        }
    }

    fn name(&mut self, index: usize) -> Name {
        const FIRST: &[&str] = &["Ada", "Grace", "Alan", "Edsger", "Barbara", "Tony", "Leslie", "Radia"];
        Name {
            first: (*FIRST.choose(&mut self.random).expect("names")).to_owned(),
            last: format!("Person{index:05}"),
            preferred: None,
        }
    }

    fn source(&self, index: usize) -> Source {
        Source {
            connection: self.connection,
            remote_id: index.to_string(),
        }
    }
}

fn contact(index: usize) -> Contact {
    Contact {
        work_email: Some(format!("person{index}@example.com")),
        work_phone: None,
        mobile_phone: Some(format!("+1 555 {index:07}")),
    }
}
