//! A new migration file is compiled in, also when nothing else changed.
fn main() {
    println!("cargo:rerun-if-changed=../schemas/migrations");
}
