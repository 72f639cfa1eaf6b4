//! Where people work and what they can become: places, ladders of jobs, and the tree of seats.
//!
//! A *seat* is a place in the reporting tree that outlives its holder. Managers are found through seats, never through
//! people, which is why a manager always exists and why reporting lines cannot form a cycle.

use super::EmployeeId;

/// Head office is this share of all seats, beside its directors.
const HEAD_OFFICE_SHARE: f64 = 0.12;
/// Below this size a company has one store and no head office departments.
const HEAD_OFFICE_EMPLOYEES_MIN: usize = 40;
/// A store of usual size: manager, assistant, three teams.
const STORE_SEATS: usize = 35;
/// One lead and ten people.
const TEAM_SEATS: usize = 11;
/// How many stores or office teams one person looks after.
const SPAN_OF_CONTROL: usize = 9;
/// A store at least this large has an assistant store manager.
const ASSISTANT_STORE_SEATS_MIN: usize = 12;

/// A ladder of jobs inside one department, lowest first.
#[derive(Debug)]
pub struct Ladder {
    /// Department as BambooHR shows it.
    pub department: &'static str,
    /// Job titles, from the bottom rung up.
    pub titles: &'static [&'static str],
    /// Yearly market pay of the bottom rung at head office, in dollars of the last day of history.
    pub market_pay_yearly: f64,
    /// From this rung on people are salaried and exempt.
    pub salaried_from: usize,
    /// From this rung on a job exists only as a seat: nobody is promoted into it unless it is vacant.
    pub seats_from: usize,
}

/// Each rung pays this much more than the one below.
pub const PAY_STEP: f64 = 1.24;

const STORE_OPERATIONS: usize = 0;
const SALES: usize = 1;
const LOGISTICS: usize = 2;
const CUSTOMER_SERVICE: usize = 3;
const EXECUTIVE: usize = 8;

/// All ladders of the company; a seat refers to one by its place in this list.
pub const LADDERS: &[Ladder] = &[
    Ladder {
        department: "Store Operations",
        titles: &[
            "Cashier",
            "Supervisor",
            "Assistant Store Manager",
            "Store Manager",
            "District Manager",
            "Vice President Store Operations",
        ],
        market_pay_yearly: 35_000.0,
        salaried_from: 2,
        seats_from: 3,
    },
    Ladder {
        department: "Sales",
        titles: &[
            "Sales Associate",
            "Senior Sales Associate",
            "Sales Lead",
            "Sales Manager",
            "Director of Sales",
        ],
        market_pay_yearly: 36_500.0,
        salaried_from: 3,
        seats_from: 3,
    },
    Ladder {
        department: "Logistics",
        titles: &[
            "Stock Associate",
            "Inventory Specialist",
            "Logistics Lead",
            "Logistics Manager",
            "Director of Logistics",
        ],
        market_pay_yearly: 36_000.0,
        salaried_from: 3,
        seats_from: 3,
    },
    Ladder {
        department: "Customer Service",
        titles: &[
            "Customer Service Representative",
            "Senior Customer Service Representative",
            "Customer Service Lead",
            "Customer Service Manager",
            "Director of Customer Service",
        ],
        market_pay_yearly: 37_000.0,
        salaried_from: 3,
        seats_from: 3,
    },
    Ladder {
        department: "Human Resources",
        titles: &[
            "HR Assistant",
            "HR Generalist",
            "HR Business Partner",
            "HR Manager",
            "HR Director",
        ],
        market_pay_yearly: 44_000.0,
        salaried_from: 1,
        seats_from: 3,
    },
    Ladder {
        department: "Finance",
        titles: &[
            "Accounting Clerk",
            "Accountant",
            "Senior Accountant",
            "Finance Manager",
            "Chief Financial Officer",
        ],
        market_pay_yearly: 47_000.0,
        salaried_from: 1,
        seats_from: 3,
    },
    Ladder {
        department: "Information Technology",
        titles: &[
            "Support Technician",
            "Systems Analyst",
            "Senior Software Engineer",
            "IT Manager",
            "Chief Information Officer",
        ],
        market_pay_yearly: 56_000.0,
        salaried_from: 1,
        seats_from: 3,
    },
    Ladder {
        department: "Marketing",
        titles: &[
            "Marketing Assistant",
            "Marketing Specialist",
            "Senior Marketing Specialist",
            "Marketing Manager",
            "Chief Marketing Officer",
        ],
        market_pay_yearly: 46_000.0,
        salaried_from: 1,
        seats_from: 3,
    },
    Ladder {
        department: "Executive",
        titles: &["Chief Executive Officer"],
        market_pay_yearly: 310_000.0,
        salaried_from: 0,
        seats_from: 0,
    },
];

const CITIES: &[(&str, &str)] = &[
    ("Chicago Loop", "Midwest"),
    ("Evanston", "Midwest"),
    ("Milwaukee", "Midwest"),
    ("Minneapolis", "Midwest"),
    ("Boston", "Northeast"),
    ("Cambridge", "Northeast"),
    ("Providence", "Northeast"),
    ("Brooklyn", "Northeast"),
    ("Atlanta", "South"),
    ("Savannah", "South"),
    ("Nashville", "South"),
    ("Austin", "South"),
    ("Portland", "West"),
    ("Seattle", "West"),
    ("Sacramento", "West"),
    ("Las Vegas", "West"),
];

/// The first store's number; the rest count up from it.
const STORE_NUMBER_FIRST: usize = 101;

/// A store, or head office.
#[derive(Debug, Clone)]
pub struct Location {
    /// Name as BambooHR shows it.
    pub name: String,
    /// Region, or Corporate.
    pub division: &'static str,
    /// What people earn here relative to head office.
    pub pay_factor: f64,
}

/// A place in the reporting tree.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Index into [`LADDERS`].
    pub ladder: usize,
    /// The rung that this seat is hired at.
    pub rung: usize,
    /// Index into [`Organisation::locations`].
    pub location: usize,
    /// The seat it reports to; none for the root.
    pub manager: Option<usize>,
    /// Who sits here.
    pub holder: Option<EmployeeId>,
    /// Exits from the team below this seat, decaying over 13 weeks.
    pub team_exits: f64,
}

/// The places and the tree of seats.
#[derive(Debug, Clone, Default)]
pub struct Organisation {
    /// Head office first, then the stores.
    pub locations: Vec<Location>,
    /// All seats; the root is the first one.
    pub seats: Vec<Seat>,
    /// For each seat, the seats that report to it.
    pub reports: Vec<Vec<usize>>,
}

impl Organisation {
    /// Builds the tree for about `seats_wanted` people.
    pub fn build(seats_wanted: usize) -> Self {
        let mut organisation = Self::default();
        organisation.add_location("Head Office".to_owned(), "Corporate", 1.0);
        let root = organisation.add_seat(EXECUTIVE, 0, 0, None);
        let (field_head, office_seats) = if seats_wanted < HEAD_OFFICE_EMPLOYEES_MIN {
            (root, 0)
        } else {
            organisation.add_departments(root, seats_wanted)
        };
        let left = seats_wanted.saturating_sub(1 + office_seats);
        organisation.add_stores(field_head, left);
        organisation
    }

    /// Whether somebody reports to this seat.
    pub fn is_management(&self, seat: usize) -> bool {
        self.reports.get(seat).is_some_and(|reports| !reports.is_empty())
    }

    /// The nearest filled seat above: the manager, or who stands in for a vacant one.
    pub fn manager_of(&self, seat: usize) -> Option<EmployeeId> {
        let mut above = self.seats.get(seat)?.manager;
        while let Some(index) = above {
            let candidate = self.seats.get(index)?;
            if candidate.holder.is_some() {
                return candidate.holder;
            }
            above = candidate.manager;
        }
        None
    }

    /// Head office departments; answers with the seat that leads the stores, and how many seats were made.
    fn add_departments(&mut self, root: usize, seats_wanted: usize) -> (usize, usize) {
        let before = self.seats.len();
        let top = |ladder: usize| LADDERS[ladder].titles.len() - 1;
        let field_head = self.add_seat(STORE_OPERATIONS, top(STORE_OPERATIONS), 0, Some(root));
        let departments: Vec<usize> = (SALES..EXECUTIVE).collect();
        let share = (seats_wanted as f64 * HEAD_OFFICE_SHARE) as usize;
        let staff = share.saturating_sub(departments.len() + 1);
        for (place, &ladder) in departments.iter().enumerate() {
            let director = self.add_seat(ladder, top(ladder), 0, Some(root));
            let size = staff / departments.len() + usize::from(place < staff % departments.len());
            self.add_office_teams(ladder, director, size);
        }
        (field_head, self.seats.len() - before)
    }

    fn add_office_teams(&mut self, ladder: usize, director: usize, size: usize) {
        if size <= SPAN_OF_CONTROL {
            for place in 0..size {
                self.add_seat(ladder, place % 3, 0, Some(director));
            }
            return;
        }
        let teams = size.div_ceil(SPAN_OF_CONTROL + 1);
        for team in 0..teams {
            let people = size / teams + usize::from(team < size % teams);
            let manager = self.add_seat(ladder, 3, 0, Some(director));
            for place in 1..people {
                self.add_seat(ladder, place % 3, 0, Some(manager));
            }
        }
    }

    fn add_stores(&mut self, field_head: usize, seats: usize) {
        let stores = ((seats as f64 / STORE_SEATS as f64).round() as usize).max(1);
        let districts = if stores > SPAN_OF_CONTROL {
            stores.div_ceil(SPAN_OF_CONTROL)
        } else {
            0
        };
        let district_seats: Vec<usize> = (0..districts)
            .map(|_| self.add_seat(STORE_OPERATIONS, 4, 0, Some(field_head)))
            .collect();
        let left = seats.saturating_sub(districts);
        for store in 0..stores {
            let (city, division) = CITIES[store % CITIES.len()];
            let name = format!("Store {} {city}", STORE_NUMBER_FIRST + store);
            let pay_factor = 0.92 + 0.02 * (store % 8) as f64;
            let location = self.add_location(name, division, pay_factor);
            let size = left / stores + usize::from(store < left % stores);
            let head = district_seats
                .get(store / SPAN_OF_CONTROL)
                .copied()
                .unwrap_or(field_head);
            self.add_store(location, head, size);
        }
    }

    fn add_store(&mut self, location: usize, head: usize, size: usize) {
        if size == 0 {
            return;
        }
        let manager = self.add_seat(STORE_OPERATIONS, 3, location, Some(head));
        let mut left = size - 1;
        if size >= ASSISTANT_STORE_SEATS_MIN {
            self.add_seat(STORE_OPERATIONS, 2, location, Some(manager));
            left -= 1;
        }
        let teams = (left as f64 / TEAM_SEATS as f64).round().max(1.0) as usize;
        let kinds = [(STORE_OPERATIONS, 1), (SALES, 2), (LOGISTICS, 2), (CUSTOMER_SERVICE, 2)];
        for team in 0..teams {
            let people = left / teams + usize::from(team < left % teams);
            // Stores differ in what their last team does, so that every ladder exists in the field.
            let (ladder, lead_rung) = kinds[if team < 2 { team } else { (team + location) % 2 + 2 }];
            if people == 0 {
                continue;
            }
            let lead = self.add_seat(ladder, lead_rung, location, Some(manager));
            for place in 1..people {
                let rung = if lead_rung > 1 && place % 4 == 0 { 1 } else { 0 };
                self.add_seat(ladder, rung, location, Some(lead));
            }
        }
    }

    fn add_location(&mut self, name: String, division: &'static str, pay_factor: f64) -> usize {
        self.locations.push(Location {
            name,
            division,
            pay_factor,
        });
        self.locations.len() - 1
    }

    fn add_seat(&mut self, ladder: usize, rung: usize, location: usize, manager: Option<usize>) -> usize {
        let index = self.seats.len();
        self.seats.push(Seat {
            ladder,
            rung,
            location,
            manager,
            holder: None,
            team_exits: 0.0,
        });
        self.reports.push(Vec::new());
        if let Some(manager) = manager {
            self.reports[manager].push(index);
        }
        index
    }
}
