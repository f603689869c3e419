//! Rows O: objects that need nothing, and input that is refused.

use serde_json::json;
use service_proxy::source::file::{self, Problem};

use crate::lab::{list, members, notes, objects, on_node_a, ready, service, services, slice, slice_of};

#[test]
fn o1_services_without_a_cluster_ip_need_nothing() {
    let mut absent = service(json!({}));
    absent["spec"].as_object_mut().unwrap().remove("clusterIP");
    absent["spec"].as_object_mut().unwrap().remove("clusterIPs");
    let external =
        json!({"type": "ExternalName", "externalName": "db.example.net", "clusterIP": "", "clusterIPs": null});
    for service in [
        absent,
        service(external),
        service(json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        service(json!({"clusterIP": null, "clusterIPs": null})),
    ] {
        let translation = on_node_a([service, slice(json!([ready("10.244.1.11", "node-a")]))]);
        assert_eq!(services(&translation), [""; 0]);
        assert_eq!(members(&translation), [""; 0]);
        assert_eq!(notes(&translation), [""; 0]);
        assert_eq!(translation.ignored.values().sum::<usize>(), 1);
    }
}

#[test]
fn o2_services_of_another_proxy_need_nothing() {
    for name in ["kube-router", ""] {
        let mut service = service(json!({}));
        service["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] = json!(name);
        let translation = on_node_a([service, slice(json!([ready("10.244.1.11", "node-a")]))]);
        assert_eq!(services(&translation), [""; 0]);
        assert_eq!(translation.ignored["Services of another proxy"], 1);
    }
}

#[test]
fn o3_slices_without_a_service_of_headless_ones_and_of_names_are_ignored() {
    let endpoints = || json!([ready("10.244.1.11", "node-a")]);
    let mut nameless = slice(endpoints());
    nameless["metadata"]["labels"].as_object_mut().unwrap().remove("kubernetes.io/service-name");
    let mut headless = slice(endpoints());
    headless["metadata"]["labels"]["service.kubernetes.io/headless"] = json!("");
    let mut names = slice(json!([{"addresses": ["db.example.net"], "conditions": {}}]));
    names["addressType"] = json!("FQDN");
    for (slice, reason) in [
        (nameless, "slices without a Service"),
        (headless, "slices of headless Services"),
        (names, "slices of domain names"),
    ] {
        let translation = on_node_a([service(json!({})), slice]);
        assert_eq!(services(&translation), ["10.96.0.10:80/tcp rr"]);
        assert_eq!(translation.ignored.get(reason), Some(&1), "{:?}", translation.ignored);
        assert_eq!(notes(&translation), [""; 0]);
    }
}

#[test]
fn o4_slices_of_absent_services_and_other_kinds_are_ignored_and_counted() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "shop"}});
    let translation = on_node_a([slice_of("gone", "gone-1", json!(null)), pod.clone(), pod]);
    assert_eq!(services(&translation), [""; 0]);
    let ignored: Vec<_> = translation.ignored.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    assert_eq!(ignored, ["objects of kind Pod 2", "slices of absent Services 1"]);
}

#[test]
fn o5_slices_of_v1beta1_are_an_error_that_names_them() {
    let mut old = slice(json!([]));
    old["apiVersion"] = json!("discovery.k8s.io/v1beta1");
    let text = list([service(json!({})), old]);
    let error = file::parse(text.as_bytes()).unwrap_err();
    let version = "EndpointSlice shop/web-2j4jc: version discovery.k8s.io/v1beta1 is not supported: \
                   list the slices of discovery.k8s.io/v1";
    assert_eq!(error.problem.to_string(), version);
    assert!(text[error.byte..].starts_with('{') && text[error.byte..].contains("v1beta1"));
    assert_eq!(error.line, text[..error.byte].lines().count());
}

#[test]
fn o6_truncated_text_is_an_error_with_its_place() {
    let text = list([service(json!({})), slice(json!([ready("10.244.1.11", "node-a")]))]);
    for length in 1..text.len() {
        let error = file::parse(&text.as_bytes()[..length]).unwrap_err();
        assert!(matches!(error.problem, Problem::Syntax(_)), "{error}");
    }
    let error = file::parse(&text.as_bytes()[..100]).unwrap_err();
    let line = text[..100].matches('\n').count() + 1;
    assert_eq!(
        error.to_string(),
        format!("line {line}, byte {}: invalid JSON: EOF while parsing an object", error.byte)
    );
}

#[test]
fn o6_an_empty_list_is_recognised() {
    assert!(objects([]).is_empty());
    assert!(file::parse(b" \n").unwrap().is_empty());
    assert!(!objects([slice(json!(null))]).is_empty());
    assert!(!objects([service(json!({}))]).is_empty());
}
