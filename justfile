# The whole product on this machine
up *arguments:
    cargo run --release -- up {{arguments}}

# The same with a simulated BambooHR: 1,200 people and three years of history
demo *arguments:
    cargo run --release -- up --demo {{arguments}}

# Every test, with the embedded broker and Postgres
test *arguments:
    cargo test --workspace {{arguments}}

# What CI runs, all of it
ci:
    .ci/run

# Lay out the code
fmt:
    cargo fmt --all

# Formatting, lints, layers and licences, without a test
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo deny --locked check --allow unused-wrapper bans licenses sources

# Rewrite the committed contracts (OpenAPI, GraphQL SDL, event samples) from the code; read the diff before committing it
golden:
    UPDATE_GOLDEN=1 cargo test --workspace golden

# Benchmarks
bench *arguments:
    cargo bench --workspace {{arguments}}

# A real Kafka broker; prints its address
kafka-start directory="/tmp/tenure-kafka":
    @.ci/real-kafka start {{quote(directory)}}

# End that broker; its data stay
kafka-stop directory="/tmp/tenure-kafka":
    .ci/real-kafka stop {{quote(directory)}}
