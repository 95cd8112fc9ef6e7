//! What a tracker counts, and the address where that can be read: Prometheus metrics, JSON figures, health.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use serde_json::json;

use crate::core::Tracker;

/// All metrics of a tracker.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    received: Family<Labels, Counter>,
    answered: Family<Kind, Counter>,
    refused: Family<Labels, Counter>,
    dropped: Family<Reason, Counter>,
    /// HTTP connections that are open.
    pub(crate) connections: Gauge,
    /// 1 while the shared store can be reached.
    pub(crate) store_up: Gauge,
    /// Announces that the shared store has not got yet.
    pub(crate) store_pending: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    protocol: String,
    listener: String,
    family: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    protocol: String,
    listener: String,
    family: String,
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    protocol: String,
    listener: String,
    family: String,
    reason: String,
}

/// Why something got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drop {
    Malformed,
    ConnectionId,
    Send,
    Busy,
}

/// Counters of one listener.
#[derive(Clone)]
pub(crate) struct ListenerMetrics {
    pub(crate) received: Counter,
    pub(crate) connect: Counter,
    pub(crate) announce: Counter,
    pub(crate) scrape: Counter,
    pub(crate) other: Counter,
    pub(crate) refused: Counter,
    dropped: [Counter; 4],
}

impl ListenerMetrics {
    pub(crate) fn dropped(&self, why: Drop) -> &Counter {
        &self.dropped[why as usize]
    }
}

impl Metrics {
    pub(crate) fn listener(&self, protocol: &str, addr: SocketAddr) -> ListenerMetrics {
        let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
        let [protocol, listener, family] = [protocol, &addr.to_string(), family].map(str::to_owned);
        let labels = Labels { protocol, listener, family };
        let answered = |kind: &str| {
            let Labels { protocol, listener, family } = labels.clone();
            self.answered.get_or_create(&Kind { protocol, listener, family, kind: kind.to_owned() }).clone()
        };
        let dropped = |reason: &str| {
            let Labels { protocol, listener, family } = labels.clone();
            let reason = reason.to_owned();
            self.dropped.get_or_create(&Reason { protocol, listener, family, reason }).clone()
        };
        ListenerMetrics {
            received: self.received.get_or_create(&labels).clone(),
            connect: answered("connect"),
            announce: answered("announce"),
            scrape: answered("scrape"),
            other: answered("other"),
            refused: self.refused.get_or_create(&labels).clone(),
            dropped: ["malformed", "connection_id", "send", "busy"].map(dropped),
        }
    }

    fn registry(&self, tracker: Arc<Tracker>, has_store: bool) -> Registry {
        let mut registry = Registry::with_prefix("sprat_tracker");
        registry.register("received", "Requests and packets received", self.received.clone());
        registry.register("answered", "Requests and packets answered", self.answered.clone());
        registry.register("refused", "Requests and packets answered with a failure", self.refused.clone());
        registry.register("dropped", "Requests and packets not answered", self.dropped.clone());
        registry.register("http_connections", "Open HTTP connections", self.connections.clone());
        if has_store {
            registry.register("store_up", "Whether the shared store is reached", self.store_up.clone());
            registry.register("store_pending", "Announces to be stored", self.store_pending.clone());
        }
        registry.register_collector(Box::new(Swarms(tracker)));
        registry
    }
}

/// Reads the swarms when it is asked.
struct Swarms(Arc<Tracker>);

#[derive(EncodeLabelSet)]
struct FamilyLabel {
    family: &'static str,
}

impl std::fmt::Debug for Swarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Swarms")
    }
}

impl Collector for Swarms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (stats, figures) = (self.0.shards.stats(), self.0.shards.figures());
        let uptime = self.0.clock.now().as_secs();
        for (name, help, unit, value) in [
            ("torrents", "Torrents with a peer, or completed", None, stats.swarms as u64),
            ("seeds", "Clients that have everything", None, stats.seeds as u64),
            ("leechers", "Clients that have not", None, stats.leechers as u64),
            ("memory", "Memory of torrents and peers", Some(Unit::Bytes), figures.bytes as u64),
            ("uptime", "Time since the start", Some(Unit::Seconds), uptime),
        ] {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            ("completed", "Leechers that became seeds", figures.completed),
            ("evicted_torrents", "Torrents given up to make room", figures.evicted),
            ("expired_peers", "Peers silent for too long", figures.expired),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let peers = [("ipv4", stats.ipv4), ("ipv6", stats.ipv6)];
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut encoder = encoder.encode_descriptor("peers", "Peers, by address family", None, kind)?;
        for (family, count) in peers {
            ConstGauge::new(count as i64).encode(encoder.encode_family(&FamilyLabel { family })?)?;
        }
        Ok(())
    }
}

/// The figures as JSON.
pub(crate) fn stats(tracker: &Tracker) -> serde_json::Value {
    let (stats, figures) = (tracker.shards.stats(), tracker.shards.figures());
    json!({
        "schema": 1,
        "uptime_s": tracker.clock.now().as_secs(),
        "torrents": stats.swarms,
        "peers": stats.ipv4 + stats.ipv6,
        "ipv4": stats.ipv4,
        "ipv6": stats.ipv6,
        "dual_stack": stats.dual_stack,
        "seeds": stats.seeds,
        "leechers": stats.leechers,
        "completed": figures.completed,
        "memory_bytes": figures.bytes,
    })
}

struct Shared {
    tracker: Arc<Tracker>,
    registry: Registry,
}

/// What can be read at the address of the metrics.
pub(crate) fn router(tracker: Arc<Tracker>, metrics: &Metrics, has_store: bool) -> Router {
    let registry = metrics.registry(tracker.clone(), has_store);
    Router::new()
        .route("/metrics", get(render))
        .route("/stats", get(figures))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(Arc::new(Shared { tracker, registry }))
}

async fn render(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut rendered = String::new();
    // A string takes everything.
    let _ = text::encode(&mut rendered, &shared.registry);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], rendered)
}

async fn figures(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    axum::Json(stats(&shared.tracker))
}
