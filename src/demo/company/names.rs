//! Names, addresses and phone numbers of people who do not exist.

use super::Gender;
use super::draw::{happens, pick};
use rand::Rng;
use std::collections::BTreeMap;

const FIRST_NAMES_FEMALE: &[&str] = &[
    "Aaliyah",
    "Abigail",
    "Adriana",
    "Aisha",
    "Alice",
    "Amara",
    "Amelia",
    "Ana",
    "Anika",
    "Aria",
    "Beatriz",
    "Bianca",
    "Camila",
    "Caroline",
    "Charlotte",
    "Chloe",
    "Clara",
    "Daniela",
    "Diana",
    "Elena",
    "Elif",
    "Elizabeth",
    "Emily",
    "Esther",
    "Fatima",
    "Gabriela",
    "Grace",
    "Hana",
    "Hannah",
    "Imani",
    "Ingrid",
    "Isabella",
    "Jasmine",
    "Josephine",
    "Julia",
    "Kavya",
    "Keiko",
    "Lara",
    "Layla",
    "Leah",
    "Lucia",
    "Madison",
    "Maria",
    "Mei",
    "Mia",
    "Naomi",
    "Nia",
    "Olivia",
    "Priya",
    "Rachel",
    "Renée",
    "Rosa",
    "Samantha",
    "Sofia",
    "Tamara",
    "Tatiana",
    "Valentina",
    "Yasmin",
    "Zoe",
    "Zuzana",
];

const FIRST_NAMES_MALE: &[&str] = &[
    "Aaron",
    "Adam",
    "Ahmed",
    "Alejandro",
    "Andre",
    "Anthony",
    "Arjun",
    "Benjamin",
    "Caleb",
    "Carlos",
    "Chen",
    "Connor",
    "Daniel",
    "Darius",
    "David",
    "Diego",
    "Dmitri",
    "Elijah",
    "Emmanuel",
    "Ethan",
    "Felix",
    "Gabriel",
    "George",
    "Hassan",
    "Henry",
    "Ibrahim",
    "Isaac",
    "Jack",
    "Jamal",
    "James",
    "Jesús",
    "Jonas",
    "Jorge",
    "Joseph",
    "Kenji",
    "Kevin",
    "Kwame",
    "Leo",
    "Liam",
    "Lucas",
    "Malik",
    "Marcus",
    "Mateo",
    "Michael",
    "Mohammed",
    "Nathan",
    "Noah",
    "Omar",
    "Oscar",
    "Pablo",
    "Rafael",
    "Ravi",
    "Samuel",
    "Sebastian",
    "Søren",
    "Thomas",
    "Tyrone",
    "Victor",
    "William",
    "Yusuf",
];

const LAST_NAMES: &[&str] = &[
    "Adams",
    "Adeyemi",
    "Ahmed",
    "Alvarez",
    "Anderson",
    "Baker",
    "Banerjee",
    "Barnes",
    "Bell",
    "Bennett",
    "Brooks",
    "Brown",
    "Campbell",
    "Carter",
    "Castillo",
    "Chang",
    "Chavez",
    "Chen",
    "Clark",
    "Cohen",
    "Collins",
    "Cooper",
    "Cruz",
    "Davis",
    "Diaz",
    "Edwards",
    "Evans",
    "Fernandez",
    "Fisher",
    "Flores",
    "Foster",
    "Garcia",
    "Gomez",
    "Gonzalez",
    "Gray",
    "Green",
    "Gupta",
    "Gutierrez",
    "Hall",
    "Hansen",
    "Harris",
    "Hassan",
    "Hernandez",
    "Hill",
    "Howard",
    "Hughes",
    "Hussain",
    "Ivanova",
    "Jackson",
    "James",
    "Jensen",
    "Jimenez",
    "Johnson",
    "Jones",
    "Kaur",
    "Kelly",
    "Khan",
    "Kim",
    "King",
    "Kowalski",
    "Kumar",
    "Larsen",
    "Lee",
    "Lewis",
    "Lopez",
    "Martin",
    "Martinez",
    "Mbeki",
    "Mendoza",
    "Miller",
    "Mitchell",
    "Moore",
    "Morales",
    "Morgan",
    "Müller",
    "Murphy",
    "Myers",
    "Nakamura",
    "Nguyen",
    "Novak",
    "Núñez",
    "O'Brien",
    "O'Connor",
    "Okafor",
    "Ortiz",
    "Osei",
    "Owens",
    "Park",
    "Parker",
    "Patel",
    "Perez",
    "Peterson",
    "Phillips",
    "Popescu",
    "Powell",
    "Price",
    "Ramirez",
    "Reed",
    "Reyes",
    "Richardson",
    "Rivera",
    "Roberts",
    "Robinson",
    "Rodriguez",
    "Rogers",
    "Rossi",
    "Russell",
    "Sanchez",
    "Sanders",
    "Schmidt",
    "Scott",
    "Silva",
    "Singh",
    "Smith",
    "Stewart",
    "Suzuki",
    "Tanaka",
    "Taylor",
    "Thomas",
    "Thompson",
    "Torres",
    "Turner",
    "Walker",
    "Wang",
    "Ward",
    "Washington",
    "Watson",
    "White",
    "Williams",
    "Wilson",
    "Wood",
    "Wright",
    "Yilmaz",
    "Young",
    "Zhang",
];

/// Chance that somebody goes by another name than the one on the contract.
const PREFERRED_NAME_SHARE: f64 = 0.12;

/// Shortest first name that is shortened into a preferred one.
const PREFERRED_NAME_CHARACTERS_MIN: usize = 5;

/// The names of one person.
pub struct PersonName {
    /// Given name as on the contract.
    pub first: String,
    /// Family name.
    pub last: String,
    /// What they are called, where that differs.
    pub preferred: Option<String>,
}

/// Draws a name.
pub fn person<R: Rng + ?Sized>(random: &mut R, gender: Gender) -> PersonName {
    let pool = match gender {
        Gender::Female => FIRST_NAMES_FEMALE,
        Gender::Male => FIRST_NAMES_MALE,
    };
    let first = pick(random, pool).copied().unwrap_or_default().to_owned();
    let preferred = (happens(random, PREFERRED_NAME_SHARE) && first.chars().count() >= PREFERRED_NAME_CHARACTERS_MIN)
        .then(|| first.chars().take(3).collect());
    PersonName {
        first,
        last: last_name(random),
        preferred,
    }
}

/// Draws a family name.
pub fn last_name<R: Rng + ?Sized>(random: &mut R) -> String {
    pick(random, LAST_NAMES).copied().unwrap_or_default().to_owned()
}

/// Draws a phone number from the block 555-0100 to 555-0199, which is reserved for fiction.
pub fn phone<R: Rng + ?Sized>(random: &mut R) -> String {
    let area = pick(random, &[212, 312, 404, 503, 617, 702, 818])
        .copied()
        .unwrap_or(312);
    format!("+1 {area}-555-01{:02}", random.random_range(0..100))
}

/// Hands out work addresses, each once.
#[derive(Debug, Clone, Default)]
pub struct Mailboxes {
    taken: BTreeMap<String, u32>,
}

impl Mailboxes {
    /// `first.last@domain` in plain letters, with a number from the second person of that name on.
    pub fn assign(&mut self, first: &str, last: &str, domain: &str) -> String {
        let local = format!("{}.{}", plain_letters(first), plain_letters(last));
        let count = self.taken.entry(local.clone()).or_insert(0);
        *count += 1;
        match *count {
            1 => format!("{local}@{domain}"),
            n => format!("{local}{n}@{domain}"),
        }
    }
}

fn plain_letters(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter_map(|c| match c {
            'é' | 'è' => Some('e'),
            'ú' | 'ü' => Some('u'),
            'ø' | 'ö' => Some('o'),
            'ñ' => Some('n'),
            c if c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}
