//! Kafka: producing so that "sent" means durable, and consuming with the offsets that Postgres knows.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, Statistics, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers as _, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _, future_producer::DeliveryFuture},
    types::RDKafkaRespErr,
};
use schemas::{envelope, topics};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint::{self, Checkpoint},
    database::{Access, Database},
};

/// Records that one consumer holds in memory at most.
pub const BUFFERED_RECORDS_MAX: usize = 20_000;
/// A record may be this large: a webhook that cannot be understood is kept whole, and grows on its way (sealed, and twice in base64).
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long metadata and administration may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a consumer whose partitions cannot be claimed waits before it tries again.
const CLAIM_PAUSE: Duration = Duration::from_millis(500);
/// How long a consumer waits at a time to be told of its topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the consumer's thread sleeps in one poll.
const POLL: Duration = Duration::from_millis(100);
/// How long the consumer's thread waits for a busy reader before it pauses.
const FULL_PATIENCE: Duration = Duration::from_secs(5);
const FULL_PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("could not {doing} at Kafka")]
    Failed {
        doing: &'static str,
        #[source]
        cause: KafkaError,
    },
    #[error("Kafka did not confirm in time: it may or may not have the record")]
    Unconfirmed,
    #[error("the topic {0} does not exist and could not be made")]
    NoTopic(&'static str),
    #[error("the consumer thread could not start")]
    Thread(#[source] std::io::Error),
}

/// Where Kafka is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Brokers {
    /// `host:port`, several with commas.
    pub addresses: String,
    /// Whether one process has the broker to itself: its consumers then take all partitions at once, without a group. A group
    /// costs the embedded broker six seconds at each start (two rounds of waiting for members), and a member that died in it is
    /// waited for without end (tansu-broker 0.6.0). Checkpoints fence a second consumer in either case.
    pub exclusive: bool,
}

impl Brokers {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.addresses)
            .set("client.id", "tenure")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "60000")
            .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
            // Errors are told by the calls that they concern; the library's own chatter repeats them.
            .set_log_level(RDKafkaLogLevel::Critical);
        config
    }

    /// Makes sure that Tenure's topics exist, and answers how many partitions each has.
    ///
    /// # Errors
    /// When Kafka cannot be reached or refuses.
    pub async fn ensure_topics(&self, partitions: i32, replication: i32) -> Result<(), BrokerError> {
        for topic in [topics::INTAKE, topics::EVENTS] {
            self.ensure_topic(topic, partitions, replication).await?;
        }
        Ok(())
    }

    /// Makes sure that a topic exists, with records kept for ever.
    ///
    /// # Errors
    /// When Kafka cannot be reached or refuses.
    pub async fn ensure_topic(
        &self,
        topic: &'static str,
        partitions: i32,
        replication: i32,
    ) -> Result<(), BrokerError> {
        if self.partitions(topic).await.is_ok() {
            return Ok(());
        }
        let admin: AdminClient<DefaultClientContext> = self.config().create().map_err(|cause| BrokerError::Failed {
            doing: "begin administration",
            cause,
        })?;
        let record_bytes = RECORD_BYTES_MAX.to_string();
        // `cleanup.policy` stays unsaid: it is `delete` by default at Kafka, where -1 means never; the embedded broker (tansu
        // 0.6), told `delete`, takes -1 for an age and deletes everything at its next start.
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication))
            .set("retention.ms", "-1")
            .set("max.message.bytes", &record_bytes);
        let made = admin
            .create_topics([&new], &AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)))
            .await;
        let made = made.map_err(|cause| BrokerError::Failed {
            doing: "create topics",
            cause,
        })?;
        for result in made {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    tracing::error!(topic = name, %code, "topic {name} could not be created: {code}");
                    return Err(BrokerError::NoTopic(topic));
                }
            }
        }
        // The broker answers before the topic is everywhere.
        for _ in 0..50 {
            if self.partitions(topic).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// When Kafka cannot be reached or the topic is not there.
    pub async fn partitions(&self, topic: &'static str) -> Result<i32, BrokerError> {
        let config = self.config();
        let count = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer = config.create()?;
            let metadata = client.fetch_metadata(Some(topic), ADMIN_TIMEOUT)?;
            Ok::<_, KafkaError>(
                metadata
                    .topics()
                    .first()
                    .filter(|found| found.error().is_none())
                    .map_or(0, |found| found.partitions().len()),
            )
        });
        let count = count
            .await
            .map_err(|_| BrokerError::Unconfirmed)?
            .map_err(|cause| BrokerError::Failed {
                doing: "read metadata",
                cause,
            })?;
        match i32::try_from(count) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(BrokerError::NoTopic(topic)),
        }
    }

    /// How many records a topic that loses none has been given.
    ///
    /// # Errors
    /// When Kafka cannot be reached or the topic is not there.
    pub async fn records(&self, topic: &'static str) -> Result<i64, BrokerError> {
        let (partitions, config) = (self.partitions(topic).await?, self.config());
        let count = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer = config.create()?;
            (0..partitions)
                .map(|partition| {
                    client
                        .fetch_watermarks(topic, partition, ADMIN_TIMEOUT)
                        .map(|(low, high)| high - low)
                })
                .sum::<Result<i64, KafkaError>>()
        });
        count
            .await
            .map_err(|_| BrokerError::Unconfirmed)?
            .map_err(|cause| BrokerError::Failed {
                doing: "count records",
                cause,
            })
    }

    /// Whether a broker answers.
    pub async fn are_up(&self) -> bool {
        self.partitions(topics::INTAKE).await.is_ok()
    }
}

/// A record to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub topic: &'static str,
    pub key: String,
    /// A CloudEvent in JSON ([`envelope::CONTENT_TYPE`]).
    pub value: Vec<u8>,
}

/// How a producer trades latency against batches.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub linger: Duration,
    /// After this the caller is told that nothing was confirmed. The record may still be stored later.
    pub give_up: Duration,
    /// After this an unsent record is dropped; never, if none. What is dropped leaves a gap that later records may jump
    /// over, and makes an idempotent producer raise its epoch, which the embedded broker (tansu 0.6) does not survive.
    pub expiry: Option<Duration>,
}

impl Pace {
    /// For requests that wait: send at once, give up while the client still listens.
    pub const INTERACTIVE: Self = Self {
        linger: Duration::ZERO,
        give_up: Duration::from_secs(5),
        expiry: Some(Duration::from_secs(120)),
    };
    /// For streams of records.
    pub const BULK: Self = Self {
        linger: Duration::from_millis(2),
        give_up: Duration::from_secs(120),
        expiry: None,
    };
}

/// Records that were handed over.
pub struct Unconfirmed {
    deliveries: Vec<DeliveryFuture>,
    give_up: Duration,
}

impl Unconfirmed {
    /// All of them are durable when this answers well.
    ///
    /// # Errors
    /// When any of them was not confirmed.
    pub async fn confirmed(self) -> Result<(), BrokerError> {
        let all = async {
            for delivery in self.deliveries {
                match delivery.await {
                    Ok(Ok(_)) => {}
                    Ok(Err((cause, _))) => {
                        let doing = "store a record";
                        return Err(BrokerError::Failed { doing, cause });
                    }
                    Err(_) => return Err(BrokerError::Unconfirmed),
                }
            }
            Ok(())
        };
        tokio::time::timeout(self.give_up, all)
            .await
            .unwrap_or(Err(BrokerError::Unconfirmed))
    }
}

/// An idempotent producer: acks=all, order kept per partition. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    producer: FutureProducer,
    brokers: Brokers,
    give_up: Duration,
    /// Partition counts, once known.
    partitions: Arc<RwLock<BTreeMap<&'static str, i32>>>,
}

impl Producer {
    /// # Errors
    /// When the settings do not fit.
    pub fn new(brokers: &Brokers, pace: Pace) -> Result<Self, BrokerError> {
        let producer = brokers
            .config()
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", pace.linger.as_millis().to_string())
            // 0 is never
            .set("delivery.timeout.ms", pace.expiry.map_or(0, |expiry| expiry.as_millis()).to_string())
            .set("compression.type", "none")
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "262144")
            .create()
            .map_err(|cause| BrokerError::Failed {
                doing: "create a producer",
                cause,
            })?;
        Ok(Self {
            producer,
            brokers: brokers.clone(),
            give_up: pace.give_up,
            partitions: Arc::default(),
        })
    }

    /// How many partitions a topic has; asked once.
    ///
    /// # Errors
    /// When Kafka cannot be reached.
    pub async fn partitions(&self, topic: &'static str) -> Result<i32, BrokerError> {
        let known = self.partitions.read().map_or(None, |known| known.get(topic).copied());
        if let Some(count) = known {
            return Ok(count);
        }
        let count = self.brokers.partitions(topic).await?;
        if let Ok(mut known) = self.partitions.write() {
            known.insert(topic, count);
        }
        Ok(count)
    }

    /// Sends one record; it is durable when this answers well.
    ///
    /// # Errors
    /// When Kafka does not confirm: the record may or may not be there, so whoever sends again must do so under the same id.
    pub async fn send(&self, record: Outgoing) -> Result<(), BrokerError> {
        self.send_all(vec![record]).await
    }

    /// Sends records in order; all are durable when this answers well.
    ///
    /// # Errors
    /// As [`Self::send`], when any of them was not confirmed.
    pub async fn send_all(&self, records: Vec<Outgoing>) -> Result<(), BrokerError> {
        let sent = async { self.hand_over(&records).await?.confirmed().await };
        tokio::time::timeout(self.give_up, sent)
            .await
            .unwrap_or(Err(BrokerError::Unconfirmed))
    }

    /// Hands records over in order, so that more can follow while the broker stores them.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn hand_over(&self, records: &[Outgoing]) -> Result<Unconfirmed, BrokerError> {
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let partition = topics::partition(record.key.as_bytes(), self.partitions(record.topic).await?);
            deliveries.push(self.enqueue(record, partition).await?);
        }
        Ok(Unconfirmed {
            deliveries,
            give_up: self.give_up,
        })
    }

    /// Hands a record to the library. A full queue is back-pressure: wait, do not drop.
    async fn enqueue(&self, record: &Outgoing, partition: i32) -> Result<DeliveryFuture, BrokerError> {
        loop {
            let headers = OwnedHeaders::new_with_capacity(1).insert(Header {
                key: "content-type",
                value: Some(envelope::CONTENT_TYPE),
            });
            let attempt = FutureRecord::to(record.topic)
                .partition(partition)
                .key(&record.key)
                .payload(&record.value)
                .headers(headers);
            match self.producer.send_result(attempt) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                Err((cause, _)) => {
                    return Err(BrokerError::Failed {
                        doing: "queue a record",
                        cause,
                    });
                }
            }
        }
    }

    /// Waits until everything that was handed over is confirmed or has failed.
    pub async fn flush(&self) {
        let producer = self.producer.clone();
        tokio::task::spawn_blocking(move || producer.flush(ADMIN_TIMEOUT).ok())
            .await
            .ok();
    }
}

/// A record as it came.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub headers: Vec<(String, Vec<u8>)>,
    pub value: Vec<u8>,
}

impl Record {
    /// The headers as text, to be parked.
    #[must_use]
    pub fn headers_text(&self) -> BTreeMap<String, String> {
        self.headers
            .iter()
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect()
    }
}

/// What a consumer gets.
#[derive(Debug)]
pub enum Delivery {
    /// This process owns the partition from now on.
    Assigned(Checkpoint),
    /// Another process may own it now.
    Revoked(i32),
    Record(Record),
    /// The broker no longer has the records after the checkpoint, or the group refuses this member: nothing goes on by itself.
    Broken(String),
}

/// Who consumes.
#[derive(Debug, Clone)]
pub struct Member {
    /// Also the consumer's name in the checkpoints.
    pub group: &'static str,
    pub topic: &'static str,
    /// Unique among the group's living members, and the same after a restart: then a restart is no rebalance.
    pub instance: String,
}

/// Starts consuming in a thread of its own. Offsets come from Postgres when partitions are assigned and are stored by the
/// consumer with what it writes; Kafka's own offsets are not used.
///
/// # Errors
/// When the consumer cannot be made.
pub fn consume(
    brokers: &Brokers,
    member: Member,
    database: Database,
    shutdown: CancellationToken,
) -> Result<mpsc::Receiver<Delivery>, BrokerError> {
    let (sender, receiver) = mpsc::channel(BUFFERED_RECORDS_MAX);
    let context = Assignments {
        member: member.clone(),
        database,
        sender: sender.clone(),
        runtime: tokio::runtime::Handle::current(),
        shutdown: shutdown.clone(),
    };
    let consumer: BaseConsumer<Assignments> = brokers
        .config()
        .set("group.id", member.group)
        .set("group.instance.id", &member.instance)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Postgres knows where to go on. If Kafka no longer has that, someone must decide.
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "1000")
        .set("fetch.wait.max.ms", "250")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "16384")
        // After its queue was full it looks again so soon: by default after a second, in which a projection runs dry.
        .set("fetch.queue.backoff.ms", "100")
        .set("max.partition.fetch.bytes", RECORD_BYTES_MAX.to_string())
        .create_with_context(context)
        .map_err(|cause| BrokerError::Failed { doing: "create a consumer", cause })?;
    let exclusive = brokers.exclusive;
    if !exclusive {
        consumer
            .subscribe(&[member.topic])
            .map_err(|cause| BrokerError::Failed {
                doing: "subscribe",
                cause,
            })?;
    }
    std::thread::Builder::new()
        .name(format!("consume {}", member.group))
        .spawn(move || {
            if exclusive && !take_all(&consumer, &member, &shutdown) {
                return;
            }
            poll(&consumer, &member, &sender, &shutdown);
        })
        .map_err(BrokerError::Thread)?;
    Ok(receiver)
}

/// Assigns all partitions; waits for the broker to tell how many there are. Answers whether it could before `shutdown`.
fn take_all(consumer: &BaseConsumer<Assignments>, member: &Member, shutdown: &CancellationToken) -> bool {
    while !shutdown.is_cancelled() {
        let known = consumer.fetch_metadata(Some(member.topic), METADATA_TIMEOUT);
        match known.as_ref().map(|metadata| metadata.topics()) {
            Ok([topic]) if !topic.partitions().is_empty() => {
                let mut partitions = TopicPartitionList::new();
                for partition in topic.partitions() {
                    partitions.add_partition(member.topic, partition.id());
                }
                return consumer.context().assign(consumer, &mut partitions);
            }
            Ok(_) => tracing::debug!(topic = member.topic, "the topic has no partitions yet"),
            Err(error) => tracing::warn!(%error, topic = member.topic, "the topic's partitions are not known yet"),
        }
        std::thread::sleep(POLL);
    }
    false
}

fn poll(
    consumer: &BaseConsumer<Assignments>,
    member: &Member,
    sender: &mpsc::Sender<Delivery>,
    shutdown: &CancellationToken,
) {
    let mut paused = false;
    let mut full_since: Option<Instant> = None;
    while !shutdown.is_cancelled() && !sender.is_closed() {
        let room = if paused {
            BUFFERED_RECORDS_MAX / 2
        } else {
            BUFFERED_RECORDS_MAX / 4
        };
        if sender.capacity() >= room {
            full_since = None;
            paused = paused && set_paused(consumer, false).is_err();
        } else if !paused {
            if full_since.get_or_insert_with(Instant::now).elapsed() < FULL_PATIENCE {
                std::thread::sleep(FULL_PAUSE);
                continue;
            }
            // Polling must go on, or the group would think that we are gone; but what was fetched ahead is thrown away.
            paused = set_paused(consumer, true).is_ok();
        }
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                let headers = message.headers().map_or_else(Vec::new, |headers| {
                    headers
                        .iter()
                        .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                        .collect()
                });
                let record = Record {
                    partition: message.partition(),
                    offset: message.offset(),
                    headers,
                    value: message.payload().unwrap_or_default().to_vec(),
                };
                if sender.blocking_send(Delivery::Record(record)).is_err() {
                    break;
                }
            }
            Some(Err(error)) => {
                if let Some(cause) = broken(&error) {
                    sender.blocking_send(Delivery::Broken(cause)).ok();
                    break;
                }
                tracing::debug!(group = member.group, %error, "consuming met an error that passes");
            }
        }
    }
}

fn set_paused(consumer: &BaseConsumer<Assignments>, pause: bool) -> Result<(), KafkaError> {
    let assignment = consumer.assignment()?;
    if pause {
        consumer.pause(&assignment)
    } else {
        consumer.resume(&assignment)
    }
}

/// Errors that do not pass.
fn broken(error: &KafkaError) -> Option<String> {
    let code = error.rdkafka_error_code()?;
    match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
            Some("Kafka no longer has the records after the checkpoint: was the retention too short, or the topic made anew? Rebuild from the log".to_owned())
        }
        RDKafkaErrorCode::Fatal | RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnknownMemberId => Some(format!("the consumer group refused this member: {code}")),
        _ => None,
    }
}

/// Gives partitions their offsets when they are assigned.
struct Assignments {
    member: Member,
    database: Database,
    sender: mpsc::Sender<Delivery>,
    runtime: tokio::runtime::Handle,
    shutdown: CancellationToken,
}

impl ClientContext for Assignments {
    fn stats(&self, _statistics: Statistics) {}
}

impl ConsumerContext for Assignments {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, partitions);
        } else {
            for element in partitions.elements() {
                self.sender.blocking_send(Delivery::Revoked(element.partition())).ok();
            }
            if let Err(error) = consumer.unassign() {
                tracing::error!(%error, "partitions could not be given back");
            }
        }
    }
}

impl Assignments {
    /// Claims partitions and begins to read them where their checkpoints say; answers whether that went well.
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> bool {
        let mine: Vec<i32> = partitions
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect();
        let Some(checkpoints) = self.claim(&mine) else {
            return false;
        };
        for checkpoint in &checkpoints {
            let at = partitions.set_partition_offset(
                self.member.topic,
                checkpoint.partition,
                Offset::Offset(checkpoint.next_offset),
            );
            if let Err(error) = at {
                tracing::error!(%error, "an assigned partition could not be positioned");
                return false;
            }
        }
        if let Err(error) = consumer.assign(partitions) {
            tracing::error!(%error, "partitions could not be assigned");
            return false;
        }
        tracing::debug!(
            group = self.member.group,
            partitions = checkpoints.len(),
            "partitions assigned"
        );
        for checkpoint in checkpoints {
            self.sender.blocking_send(Delivery::Assigned(checkpoint)).ok();
        }
        true
    }

    /// Waits until Postgres gives the partitions to us: without it nothing could be stored anyway.
    fn claim(&self, partitions: &[i32]) -> Option<Vec<Checkpoint>> {
        while !self.shutdown.is_cancelled() {
            let (group, topic, partitions) = (self.member.group, self.member.topic, partitions.to_vec());
            let claimed = self
                .runtime
                .block_on(self.database.transact(Access::Write, &[], move |connection| {
                    Box::pin(async move { checkpoint::claim(connection, group, topic, &partitions).await })
                }));
            match claimed {
                Ok(checkpoints) => return Some(checkpoints),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "partitions cannot be claimed yet"
                    );
                    std::thread::sleep(CLAIM_PAUSE); // this thread is the consumer's own
                }
            }
        }
        None
    }
}
