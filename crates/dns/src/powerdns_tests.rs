//! Faults a real `PowerDNS` does not show on demand; the rest is asked of a real one.

use std::error::Error;

use freehold_core::model::RecordKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::fixtures::{fleet, inventory, server, vm, zone};

/// Serves this answer to every connection; nothing means silence. Returns its URL.
async fn answering(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => kept.push(stream),
            }
        }
    });
    url
}

fn plugin(url: &str) -> PowerDns {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let patience = Duration::from_millis(300);
    PowerDns::with_patience(&fleet(&[zone(true)]), &server(url), patience, patience).unwrap()
}

async fn fault(answer: Option<&'static str>) -> PluginError {
    let plugin = plugin(&answering(answer).await);
    let inventory = inventory(&[vm("web-0", &["10.77.0.100"])]);
    plugin.propose(&inventory, &Published::new(), &Hosts::new()).await.unwrap_err()
}

fn chain(error: &PluginError) -> String {
    let mut text = error.to_string();
    let mut next: Option<&dyn Error> = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    assert!(!text.contains("poison-key"), "{text}");
    assert!(!format!("{error:?}").contains("poison-key"));
    text
}

const HTML: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 39\r\nconnection: close\r\n\r\n\
                    <html><body>nginx is sad</body></html>\n";

#[tokio::test]
async fn tells_a_servers_own_error() {
    let error = fault(Some(
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 27\r\nconnection: close\r\n\r\n\
         {\"error\":\"database is gone\"}",
    ))
    .await;
    // One byte short of the whole on purpose: half a complaint is no complaint.
    assert_eq!(error.kind, PluginErrorKind::Refused);
    let error = fault(Some(
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 28\r\nconnection: close\r\n\r\n\
         {\"error\":\"database is gone\"}",
    ))
    .await;
    assert_eq!(error.kind, PluginErrorKind::Refused);
    assert!(chain(&error).contains("500 Internal Server Error: database is gone"));
}

#[tokio::test]
async fn tells_a_proxys_page_from_the_api() {
    let error = fault(Some(HTML)).await;
    assert_eq!(error.kind, PluginErrorKind::Unreachable);
    assert!(chain(&error).contains("HTML page"), "{}", chain(&error));
    let error = fault(Some(
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>",
    ))
    .await;
    assert_eq!(error.kind, PluginErrorKind::Refused);
    assert!(error.hint.as_ref().unwrap().contains("url"));
}

#[tokio::test]
async fn takes_half_an_answer_for_none() {
    let error =
        fault(Some("HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n[]")).await;
    assert_eq!(error.kind, PluginErrorKind::Unreachable);
    assert!(chain(&error).contains("broke off"), "{}", chain(&error));
}

#[tokio::test]
async fn does_not_wait_for_ever() {
    let error = fault(None).await;
    assert_eq!(error.kind, PluginErrorKind::Unreachable);
    assert!(chain(&error).contains("no whole answer"), "{}", chain(&error));
}

#[tokio::test]
async fn calls_a_closed_port_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:pass@{}", listener.local_addr().unwrap());
    drop(listener);
    let error = plugin(&url).publish(&[edit()], &Hosts::new()).await.unwrap_err();
    assert_eq!(error.kind, PluginErrorKind::Unreachable);
    assert!(chain(&error).contains("does not answer"));
    assert!(!chain(&error).contains("pass@"));
}

#[tokio::test]
async fn sends_nothing_without_edits() {
    assert!(plugin("http://127.0.0.1:1").publish(&[], &Hosts::new()).await.is_ok());
    assert!(plugin("http://127.0.0.1:1").verify(&[], &Hosts::new()).await.unwrap());
}

#[test]
fn refuses_an_address_that_is_none() {
    for url in ["", "10.77.0.1:8081", "ftp://x", "http://"] {
        let error = PowerDns::new(&fleet(&[]), &server(url)).unwrap_err();
        assert_eq!(error.kind, PluginErrorKind::Refused, "{url}");
    }
    assert!(!format!("{:?}", plugin("http://127.0.0.1:1")).contains("poison-key"));
}

fn edit() -> Edit {
    Edit {
        plugin: "dns main".to_owned(),
        vm: Some("web-0".parse().unwrap()),
        key: EditKey::Rrset {
            zone: "home.example.org".parse().unwrap(),
            name: "web-0.home.example.org".parse().unwrap(),
            kind: RecordKind::A,
            ttl: 60,
        },
        old: Vec::new(),
        new: vec!["10.77.0.100".to_owned()],
    }
}
