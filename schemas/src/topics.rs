//! Topics, keys and partitions.

use domain::StreamId;

/// Commands and source notifications, durable before any 2xx. Key: stream.
pub const INTAKE: &str = "tenure.intake";
/// The event log, in its order. Key: stream.
pub const EVENTS: &str = "tenure.events";

/// Partitions of each topic when Tenure creates it: enough for a few processes, few enough for one machine.
pub const PARTITIONS_DEFAULT: i32 = 6;

/// The record key of a stream.
#[must_use]
pub fn key(stream: &StreamId) -> String {
    stream.to_string()
}

/// The partition of `key` among `partitions`, as Java's default partitioner chooses it. Tenure names the partition
/// explicitly when it produces, because librdkafka's own default hashes differently.
#[must_use]
pub fn partition(key: &[u8], partitions: i32) -> i32 {
    // Java: Utils.toPositive(Utils.murmur2(key)) % partitions
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2 with Kafka's seed (org.apache.kafka.common.utils.Utils#murmur2).
fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own UtilsTest#testMurmur2.
    #[test]
    fn the_hash_is_java_s() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn a_partition_is_in_range() {
        assert!((0..1000).all(|i| (0..6).contains(&partition(format!("key-{i}").as_bytes(), 6))));
    }
}
