//! actix-session with its Redis store, on actix-web.

use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, get, post};
use actix_web::{App, HttpResponse, HttpServer};

use crate::answer::Answer;

/// Serves until the process is killed.
pub fn run() {
    actix_web::rt::System::new().block_on(serve());
}

async fn serve() {
    let store = RedisSessionStore::new(crate::redis_url()).await.expect("Redis answers");
    let (key, answer) = (Key::generate(), Data::new(Answer::read()));
    let server = HttpServer::new(move || {
        let sessions =
            SessionMiddleware::builder(store.clone(), key.clone()).cookie_secure(false).build();
        App::new()
            .app_data(answer.clone())
            .wrap(sessions)
            .route("/session", get().to(checked))
            .route("/login", post().to(log_in))
    });
    let server = server.workers(2).bind(("127.0.0.1", 0)).expect("a free port");
    crate::listening(server.addrs()[0]);
    server.run().await.expect("serves until it is killed");
}

async fn checked(session: Session, answer: Data<Answer>) -> HttpResponse {
    match session.get::<String>("user") {
        Ok(Some(_)) => {
            let mut response = HttpResponse::build(StatusCode::OK);
            for (name, value) in &answer.headers {
                response.insert_header((name.as_str(), value.as_bytes()));
            }
            response.body(Bytes::clone(&answer.body))
        }
        Ok(None) => HttpResponse::new(StatusCode::UNAUTHORIZED),
        Err(_) => HttpResponse::new(StatusCode::SERVICE_UNAVAILABLE),
    }
}

async fn log_in(session: Session) -> HttpResponse {
    session.insert("user", "admin").expect("the session takes a value");
    HttpResponse::new(StatusCode::OK)
}
