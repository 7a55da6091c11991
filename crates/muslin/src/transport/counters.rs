//! What a transport counts, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that many tasks raise. A gauge is lowered too.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn raise(&self) {
        self.add(1);
    }

    /// That many more.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// One less (gauges only).
    pub fn lower(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One number as a metrics page shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterRow {
    /// Its name, without a prefix for the program; ends in `_total` unless it is a gauge.
    pub name: &'static str,
    /// The `reason` label; empty for those without.
    pub reason: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Its value.
    pub value: u64,
}

macro_rules! counters {
    ($($field:ident = $name:literal $reason:literal $help:literal),+ $(,)?) => {
        /// What a transport has counted since it started.
        #[derive(Debug, Default)]
        pub struct TransportCounters {
            $(#[doc = $help] pub $field: Counter,)+
        }

        impl TransportCounters {
            /// All of them, rows of one name together.
            pub fn rows(&self) -> Vec<CounterRow> {
                vec![$(CounterRow {
                    name: $name,
                    reason: $reason,
                    help: $help,
                    value: self.$field.value(),
                }),+]
            }
        }
    };
}

counters! {
    connections = "transport_connections" ""
        "Connections to peers open at present.",
    connections_opened = "transport_connections_opened_total" ""
        "Connections to peers opened.",
    connections_reset = "transport_connections_reset_total" ""
        "Connections that the peer's next process disowned.",
    dials = "transport_dials_total" ""
        "Attempts to connect to a peer.",
    dials_failed = "transport_dials_failed_total" ""
        "Attempts to connect to a peer that failed.",
    dials_barred = "transport_dials_barred_total" ""
        "Connections that a peer refused to this node as one of an older epoch, or removed.",
    dials_copied = "transport_dials_copied_total" ""
        "Connections that a peer refused since another process runs as this node.",
    datagrams_in = "transport_datagrams_in_total" ""
        "Gossip datagrams taken in and opened.",
    datagrams_out = "transport_datagrams_out_total" ""
        "Gossip datagrams sent.",
    datagram_bytes_in = "transport_datagram_bytes_in_total" ""
        "Bytes of gossip datagrams taken in.",
    datagram_bytes_out = "transport_datagram_bytes_out_total" ""
        "Bytes of gossip datagrams sent.",
    datagrams_short = "transport_datagrams_dropped_total" "short"
        "Datagrams shorter than a header.",
    datagrams_long = "transport_datagrams_dropped_total" "long"
        "Datagrams longer than allowed.",
    datagrams_unknown_kind = "transport_datagrams_dropped_total" "kind"
        "Datagrams of a kind this version does not know.",
    datagrams_wrong_cluster = "transport_datagrams_dropped_total" "cluster"
        "Datagrams of another cluster.",
    datagrams_old_epoch = "transport_datagrams_dropped_total" "epoch"
        "Datagrams of an older epoch.",
    datagrams_unknown_key = "transport_datagrams_dropped_total" "key"
        "Datagrams sealed with a key not in the ring.",
    datagrams_forged = "transport_datagrams_dropped_total" "forged"
        "Datagrams that the key does not open.",
    datagrams_replayed = "transport_datagrams_dropped_total" "replayed"
        "Datagrams seen before, or of an earlier start of their sender.",
    datagrams_removed = "transport_datagrams_dropped_total" "removed"
        "Datagrams of removed nodes, or of this node itself.",
    datagrams_overrun = "transport_datagrams_dropped_total" "overrun"
        "Datagrams that the node was too busy to take.",
    datagrams_unsent = "transport_datagrams_dropped_total" "unsent"
        "Datagrams that the system would not send.",
    frames_in = "transport_frames_in_total" ""
        "Messages received on streams.",
    frames_out = "transport_frames_out_total" ""
        "Messages written to streams.",
    frame_bytes_in = "transport_frame_bytes_in_total" ""
        "Bytes of messages received on streams.",
    frame_bytes_out = "transport_frame_bytes_out_total" ""
        "Bytes of messages written to streams.",
    frames_no_route = "transport_frames_dropped_total" "route"
        "Messages to peers with no known address.",
    frames_queue_full = "transport_frames_dropped_total" "full"
        "Messages to peers whose queue is full.",
    frames_too_large = "transport_frames_dropped_total" "large"
        "Messages larger than a frame may be.",
    frames_lost = "transport_frames_dropped_total" "lost"
        "Messages queued or under way when their connection was lost.",
    streams_broken = "transport_streams_broken_total" ""
        "Connections closed because of a bad frame.",
    handshakes_busy = "transport_handshakes_refused_total" "busy"
        "Handshakes refused because too many run.",
    handshakes_retried = "transport_handshakes_refused_total" "retry"
        "Handshakes asked to prove their address first.",
    handshakes_failed = "transport_handshakes_refused_total" "failed"
        "Handshakes that failed, timed out or had a wrong certificate.",
    handshakes_removed = "transport_handshakes_refused_total" "removed"
        "Handshakes of removed nodes.",
    handshakes_epoch = "transport_handshakes_refused_total" "epoch"
        "Handshakes of nodes of an older epoch.",
    handshakes_version = "transport_handshakes_refused_total" "version"
        "Handshakes of nodes with no protocol version in common.",
    handshakes_copied = "transport_handshakes_refused_total" "copied"
        "Handshakes of a node of which another process, of a later start, is connected.",
    handshakes_duplicate = "transport_handshakes_refused_total" "duplicate"
        "Handshakes given up because both sides dialled, or of an earlier start of the peer.",
}
