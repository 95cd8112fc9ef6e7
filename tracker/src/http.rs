//! The HTTP side: what is asked and what is answered. Announces and scrapes, as nearly all clients send them, are answered in a
//! lane of their own; hyper reads whatever else comes, and axum's router answers what is neither: either of them takes as long
//! as an announce.
//!
//! Every peer is taken to be at the address that its connection came from, or that a trusted proxy names. `ip=` in a query is
//! ignored: anyone could be named there.

mod body;
mod connection;
mod lane;
mod paths;
mod rewound;
mod watch;

use std::cell::RefCell;
use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::routing::get;
use hyper::body::Incoming;
use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use torrent_format::announce::AnnounceEvent;
use torrent_format::announce::http::{self as wire, CompactReply, QueryError, RetryIn};

use crate::core::{Refusal, Tracker};
use crate::directory::web::Asker;
use crate::forwarded::{BadForwarded, client_behind};
use crate::swarm::{Picked, external_ip};

use body::Reply;
pub(crate) use connection::{Endpoints, Front, Listener, accept, bind};
use paths::Question;
use watch::{Life, Patience};

/// When those who come too early or too many may come again.
const BUSY_RETRY: Duration = Duration::from_secs(5 * 60);

thread_local! {
    /// The peers of the announce that is being answered: IPv4, IPv6.
    static PEERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Answers requests.
pub(crate) struct Site {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Its routes read bodies, and take longer than an announce does.
    pub(crate) has_directory: bool,
    pub(crate) router: Router,
}

/// What is neither an announce nor a scrape.
pub(crate) fn router() -> Router {
    Router::new().route("/health", get(|| async { "ok\n" }))
}

/// All of it, where there is nothing else.
pub(crate) fn bare_router() -> Router {
    router().fallback(|| async {
        (StatusCode::NOT_FOUND, "This is a BitTorrent tracker. It is asked at /announce and /scrape.\n")
    })
}

/// One connection's requests.
pub(crate) struct Service {
    front: Arc<Front>,
    endpoints: Endpoints,
    life: Arc<Life>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Reply>;
    type Error = std::convert::Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.front.metrics.received.inc();
        // Bodies are not read; where the next request would begin is then anyone's guess. The directory's are, or hyper sees to it.
        let is_directory =
            self.front.site.has_directory && Question::of(request.uri().path()) == Question::Other;
        let has_unread_body = has_body(request.headers()) && !is_directory;
        let mut answering = self.answer(request);
        if self.front.watch.note_answer(&self.life) || has_unread_body {
            answering.close();
        }
        if is_directory {
            answering.takes_time(self.front.clone(), self.life.clone());
        }
        answering
    }
}

impl Service {
    fn answer(&self, request: Request<Incoming>) -> Answering {
        let question = Question::of(request.uri().path());
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let (body, counter) = match (question, request.method()) {
            (Question::Other, _) => return self.route(request),
            (Question::Announce(_) | Question::Scrape(_), &Method::HEAD) => {
                // HEAD asks what a GET would be answered, and changes nothing: no announce is made.
                (Vec::new(), &self.front.metrics.other)
            }
            (Question::Announce(_) | Question::Scrape(_), method) if method != Method::GET => {
                self.refuse(&Problem::Method(method.clone()))
            }
            _ => {
                let forwarded = request.headers().get_all("x-forwarded-for").into_iter();
                let now = self.front.site.tracker.clock.now();
                let mut body = Vec::new();
                let counter = self.ask(now, question, query, forwarded.map(HeaderValue::as_bytes), &mut body);
                (body, counter)
            }
        };
        counter.inc();
        Answering::now(bencoded(body))
    }

    /// Appends the answer to a GET to `body`; says by what it is counted. `forwarded`: the values of X-Forwarded-For.
    fn ask<'a>(
        &self,
        now: Duration,
        question: Question<'_>,
        query: &[u8],
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
        body: &mut Vec<u8>,
    ) -> &Counter {
        let metrics = &self.front.metrics;
        let answer = match question {
            Question::Announce(Some(_)) | Question::Scrape(Some(_)) if !self.front.site.tracker.private => {
                Err(Problem::Misspelt)
            }
            Question::Announce(key) => {
                self.announce(now, key, query, forwarded, body).map(|()| &metrics.announce)
            }
            Question::Scrape(key) => self.scrape(key, query, body).map(|()| &metrics.scrape),
            Question::Misspelt | Question::Other => Err(Problem::Misspelt),
        };
        answer.unwrap_or_else(|problem| {
            let (reason, counter) = self.refuse(&problem);
            body.extend_from_slice(&reason);
            counter
        })
    }

    fn refuse(&self, problem: &Problem) -> (Vec<u8>, &Counter) {
        (wire::encode_failure(&problem.to_string(), problem.retry_in()), &self.front.metrics.refused)
    }

    fn announce<'a>(
        &self,
        now: Duration,
        key: Option<&str>,
        query: &[u8],
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
        body: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        let tracker = &self.front.site.tracker;
        tracker.admit_key(key)?;
        let ip = client_behind(self.endpoints.remote.ip(), &self.front.site.trusted_proxies, forwarded)?;
        let request = wire::parse_announce(query)?;
        if request.event != AnnounceEvent::Stopped {
            tracker.admit(&request.info_hash, &request.peer_id)?;
        }
        let peer = SocketAddr::new(ip, request.port);
        if let Some(own) = tracker.own_seeder {
            let reply = tracker.announce_beside(own, peer, self.endpoints.local.ip(), &request);
            body.extend_from_slice(&wire::encode_reply(&reply));
            return Ok(());
        }
        PEERS.with_borrow_mut(|(v4, v6)| {
            v4.clear();
            v6.clear();
            let picked = Picked { v4: Some(v4), v6: Some(v6), limit: usize::MAX };
            let answer = tracker.announce(now, peer, &request, picked);
            let reply = CompactReply {
                interval: answer.interval.into(),
                min_interval: Some(answer.min_interval.into()),
                complete: Some(answer.counts.complete),
                incomplete: Some(answer.counts.incomplete),
                downloaded: Some(answer.counts.downloaded),
                peers: v4,
                peers6: v6,
                external_ip: external_ip(ip),
                ..CompactReply::default()
            };
            wire::encode_compact(&reply, body);
            Ok(())
        })
    }

    fn scrape(&self, key: Option<&str>, query: &[u8], body: &mut Vec<u8>) -> Result<(), Problem> {
        let tracker = &self.front.site.tracker;
        tracker.admit_key(key)?;
        let entries = wire::parse_scrape(query)?.into_iter().map(|hash| (hash, tracker.scrape(&hash)));
        body.extend_from_slice(&wire::encode_scrape(entries));
        Ok(())
    }

    fn route(&self, mut request: Request<Incoming>) -> Answering {
        self.front.metrics.other.inc();
        if self.front.site.has_directory {
            let asker = self.asker(request.headers());
            request.extensions_mut().insert(asker);
        }
        let mut router = self.front.site.router.clone();
        let response = tower_service::Service::call(&mut router, request.map(Body::new));
        Answering::Later(
            Box::pin(async move { response.await.unwrap_or_else(|never| match never {}) }),
            false,
            None,
        )
    }
}

impl Service {
    /// Who is behind a request for the directory. A proxy that says nonsense is taken for the asker.
    fn asker(&self, headers: &HeaderMap) -> Asker {
        let (remote, trusted) = (self.endpoints.remote.ip(), &self.front.site.trusted_proxies);
        let forwarded = headers.get_all("x-forwarded-for").into_iter().map(HeaderValue::as_bytes);
        let is_https = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        Asker {
            ip: client_behind(remote, trusted, forwarded).unwrap_or(remote),
            is_https: is_https && trusted.iter().any(|net| net.contains(&remote)),
        }
    }
}

/// Why a request is answered with a failure.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Forwarded(#[from] BadForwarded),
    #[error("{0} is not GET")]
    Method(Method),
    #[error("this tracker is asked at /announce and /scrape")]
    Misspelt,
}

impl Problem {
    /// Whether it is worth while to come again (BEP 31).
    fn retry_in(&self) -> Option<RetryIn> {
        matches!(self, Self::Refused(_)).then_some(RetryIn::Never)
    }
}

/// An answer that is there, or that the router is about to give.
pub(crate) enum Answering {
    Now(Ready<Result<Response<Reply>, std::convert::Infallible>>),
    /// And whether the connection is closed after it.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>, bool, Option<Patience>),
}

impl Answering {
    fn now(response: Response<Reply>) -> Self {
        Self::Now(ready(Ok(response)))
    }

    /// Until it has been given, the connection has more time than an announce's.
    fn takes_time(&mut self, front: Arc<Front>, life: Arc<Life>) {
        if let Self::Later(_, _, patience) = self {
            *patience = Some(Patience::begin(front, life));
        }
    }

    /// Nothing is asked after it.
    fn close(&mut self) {
        match self {
            Self::Now(response) => {
                let Ok(mut answer) = std::mem::replace(response, ready(Ok(Response::default()))).into_inner();
                set_close(&mut answer);
                *response = ready(Ok(answer));
            }
            Self::Later(_, close, _) => *close = true,
        }
    }
}

impl Future for Answering {
    type Output = Result<Response<Reply>, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => Pin::new(response).poll(cx),
            Self::Later(response, close, patience) => response.as_mut().poll(cx).map(|response| {
                let _patience = patience.take();
                let mut response = response.map(|body| Reply::Routed { body, _patience });
                if *close {
                    set_close(&mut response);
                }
                Ok(response)
            }),
        }
    }
}

fn set_close(response: &mut Response<Reply>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// Failures too have status 200: clients read the reason only then.
fn bencoded(body: Vec<u8>) -> Response<Reply> {
    let mut response = Response::new(Reply::whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
