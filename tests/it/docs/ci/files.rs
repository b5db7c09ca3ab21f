//! The files of CI systems and clusters, in types that refuse what they do not know. The types follow
//! the documentation of their readers, as far as the snippets go.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::runs::{check, script};
use super::snippet;

/// The snippets that this file reads.
pub(super) const NAMES: [&str; 8] = [
    "cloud-init",
    "github-actions",
    "gitlab",
    "jenkins",
    "kubernetes-init",
    "kubernetes-job",
    "packer",
    "prometheus-rules",
];

fn yaml<T: DeserializeOwned>(name: &str) -> T {
    let text = snippet(name);
    serde_saphyr::from_str(&text).unwrap_or_else(|why| panic!("{name}: {why}"))
}

mod github {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub(super) struct Workflow {
        pub(super) name: String,
        pub(super) on: Triggers,
        pub(super) permissions: BTreeMap<String, String>,
        pub(super) jobs: BTreeMap<String, Job>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Triggers {
        pub(super) workflow_dispatch: Option<()>,
        pub(super) schedule: Vec<Schedule>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Schedule {
        pub(super) cron: String,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub(super) struct Job {
        pub(super) runs_on: Vec<String>,
        pub(super) timeout_minutes: u32,
        pub(super) steps: Vec<Step>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Step {
        pub(super) name: String,
        #[serde(rename = "if")]
        pub(super) condition: Option<String>,
        pub(super) run: Option<String>,
        pub(super) uses: Option<String>,
        #[serde(default)]
        pub(super) with: BTreeMap<String, String>,
    }
}

#[test]
fn github_actions() {
    let workflow: github::Workflow = yaml("github-actions");
    assert!(!workflow.name.is_empty() && workflow.permissions.is_empty());
    assert!(workflow.on.workflow_dispatch.is_none());
    let cron = &workflow.on.schedule[0].cron;
    assert_eq!(cron.split(' ').count(), 5, "{cron}");
    let job = &workflow.jobs["egress"];
    assert!(!job.runs_on.is_empty() && job.timeout_minutes > 0);
    // The default shell of GitHub on Linux.
    let mut runs = Vec::new();
    for step in &job.steps {
        assert!(!step.name.is_empty());
        assert_ne!(step.run.is_some(), step.uses.is_some(), "{}", step.name);
        runs.extend(step.run.clone());
        let first = step.name == job.steps[0].name;
        assert_eq!(step.condition.is_none(), first, "{}", step.name);
        assert_eq!(step.with.is_empty(), step.uses.is_none());
    }
    let kept = &job.steps[2].with["path"];
    for (sample, code) in [("all-open", 0), ("udp-dropped", 3), ("both-dropped", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let told = script("bash", &runs[0], sample, folder.path());
        assert_eq!(told.code, code, "{sample}");
        assert!(told.stdout.starts_with("::"), "{}", told.stdout);
        let told = script("bash", &runs[1], sample, folder.path());
        assert_eq!(told.code, 0);
        let summary = std::fs::read_to_string(folder.path().join("step-summary")).unwrap();
        assert!(summary.starts_with("## tunnelcheck: "), "{summary}");
        for file in kept.lines() {
            assert!(folder.path().join(file).exists(), "{file}");
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GitlabJob {
    stage: String,
    tags: Vec<String>,
    timeout: String,
    script: Vec<String>,
    allow_failure: ExitCodes,
    artifacts: Artifacts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExitCodes {
    exit_codes: Vec<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Artifacts {
    when: String,
    expire_in: String,
    paths: Vec<String>,
    reports: BTreeMap<String, String>,
}

#[test]
fn gitlab() {
    let jobs: BTreeMap<String, GitlabJob> = yaml("gitlab");
    let job = &jobs["tunnel-egress"];
    assert_eq!(
        (job.stage.as_str(), job.artifacts.when.as_str()),
        ("test", "always")
    );
    assert!(!job.tags.is_empty() && !job.timeout.is_empty() && !job.artifacts.expire_in.is_empty());
    assert_eq!(job.artifacts.reports["junit"], "junit.xml");
    for (sample, passes) in [
        ("all-open", true),
        ("udp-dropped", true),
        ("both-dropped", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let told = script("bash", &job.script.join("\n"), sample, folder.path());
        let allowed = told.code == 0 || job.allow_failure.exit_codes.contains(&told.code);
        assert_eq!(allowed, passes, "{sample}");
        for file in &job.artifacts.paths {
            assert!(folder.path().join(file).exists(), "{file}");
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloudConfig {
    write_files: Vec<WriteFile>,
    runcmd: Vec<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteFile {
    path: String,
    owner: String,
    permissions: String,
    content: String,
}

#[test]
fn cloud_init() {
    assert!(snippet("cloud-init").starts_with("#cloud-config\n"));
    let config: CloudConfig = yaml("cloud-init");
    let [file] = &config.write_files[..] else {
        panic!("one file is written");
    };
    assert_eq!(config.runcmd, [vec![file.path.clone()]]);
    assert_eq!(
        (file.owner.as_str(), file.permissions.as_str()),
        ("root:root", "0755")
    );
    assert!(file.content.starts_with("#!/bin/sh\n"));
    for (sample, code) in [("all-open", 0), ("udp-dropped", 0), ("both-dropped", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let told = script("sh", &file.content, sample, folder.path());
        assert_eq!(told.code, code, "{sample}: {}", told.stderr);
        assert!(folder.path().join("report.json").exists(), "{sample}");
        let started = told
            .called
            .contains("systemctl enable --now cloudflared.service");
        assert_eq!(started, code == 0, "{sample}: {}", told.called);
        assert_eq!(told.stderr.is_empty(), code == 0, "{}", told.stderr);
    }
}

/// The blocks of a declarative pipeline and what may stand in them, as far as the snippet goes:
/// <https://www.jenkins.io/doc/book/pipeline/syntax/>. Steps are their plugins' own.
#[test]
fn jenkins() {
    let text = snippet("jenkins");
    let blocks = groovy_blocks(&text);
    let paths: Vec<_> = blocks.iter().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "pipeline",
            "pipeline/agent",
            "pipeline/options",
            "pipeline/stages",
            "pipeline/stages/stage",
            "pipeline/stages/stage/steps",
            "pipeline/post",
            "pipeline/post/always",
        ]
    );
    let commands: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("sh '"))
        .collect();
    let [command] = commands[..] else {
        panic!("one command: {commands:?}");
    };
    let command = command.strip_suffix('\'').unwrap();
    for (sample, code) in [("all-open", 0), ("udp-dropped", 3)] {
        let folder = tempfile::tempdir().unwrap();
        // As the step `sh` does on Unix.
        let told = script("sh", command, sample, folder.path());
        assert_eq!(told.code, code, "{sample}");
        for file in ["junit.xml", "report.json"] {
            assert!(text.contains(&format!("'{file}'")));
            assert!(folder.path().join(file).exists(), "{file}");
        }
    }
}

/// The blocks with the way to each; strings are skipped, and all brackets have to close.
fn groovy_blocks(text: &str) -> Vec<String> {
    let (mut way, mut blocks, mut word) = (Vec::<String>::new(), Vec::new(), String::new());
    let mut chars = text.chars();
    let mut brackets = 0;
    while let Some(c) = chars.next() {
        match c {
            '\'' => assert!(chars.by_ref().any(|c| c == '\''), "a string without an end"),
            '(' => brackets += 1,
            ')' => brackets -= 1,
            '{' => {
                way.push(word.trim().to_owned());
                blocks.push(way.join("/"));
                word.clear();
            }
            '}' => {
                assert!(way.pop().is_some(), "a bracket too many");
                word.clear();
            }
            '\n' => word.clear(),
            c => word.push(c),
        }
        assert!(brackets >= 0);
    }
    assert!(way.is_empty() && brackets == 0, "{way:?} is not closed");
    blocks
}

#[test]
fn packer() {
    let body: hcl::Body = hcl::from_str(&snippet("packer")).unwrap();
    let kinds: Vec<_> = body
        .blocks()
        .map(|block| block.identifier().to_owned())
        .collect();
    assert_eq!(kinds, ["packer", "source", "build"]);
    assert_eq!(body.attributes().count(), 0);
    let source = body.blocks().nth(1).unwrap();
    let labels: Vec<_> = source
        .labels()
        .iter()
        .map(hcl::BlockLabel::as_str)
        .collect();
    let build = body.blocks().nth(2).unwrap().body();
    let sources = format!("source.{}", labels.join("."));
    let own = build.attributes().next().unwrap();
    let value = hcl::Value::from(own.expr().clone());
    assert_eq!(value, hcl::Value::from(vec![sources]));
    let mut shells = Vec::new();
    for block in build.blocks() {
        assert_eq!(block.identifier(), "provisioner");
        let mut fields: Vec<_> = block
            .body()
            .attributes()
            .map(|a| a.key().to_owned())
            .collect();
        fields.sort_unstable();
        match block.labels()[0].as_str() {
            "file" if fields.len() == 2 => assert_eq!(fields, ["destination", "source"]),
            "file" => assert_eq!(fields, ["destination", "direction", "source"]),
            "shell" => shells.push(inline(block)),
            other => panic!("{other}"),
        }
    }
    for (sample, code) in [("all-open", 0), ("udp-dropped", 3), ("both-dropped", 1)] {
        let folder = tempfile::tempdir().unwrap();
        // `inline` is run by `/bin/sh -e`.
        let lines = |shell: &Vec<String>| format!("set -e\n{}", shell.join("\n"));
        let told = script("sh", &lines(&shells[0]), sample, folder.path());
        assert_eq!(told.code, 0, "{sample}: {}", told.stderr);
        assert!(folder.path().join("junit.xml").exists());
        let told = script("sh", &lines(&shells[1]), sample, folder.path());
        assert_eq!(told.code, code, "{sample}");
    }
}

fn inline(block: &hcl::Block) -> Vec<String> {
    let mut lines = Vec::new();
    for attribute in block.body().attributes() {
        let value = hcl::Value::from(attribute.expr().clone());
        match attribute.key() {
            "inline" => lines = hcl::from_value(value).unwrap(),
            "valid_exit_codes" => {
                assert_eq!(value, hcl::Value::from(vec![0, 3]));
            }
            other => panic!("{other}"),
        }
    }
    lines
}

mod kubernetes {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Object<Spec> {
        pub(super) api_version: String,
        pub(super) kind: String,
        pub(super) metadata: Metadata,
        pub(super) spec: Spec,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Metadata {
        pub(super) name: Option<String>,
        pub(super) namespace: Option<String>,
        #[serde(default)]
        pub(super) labels: BTreeMap<String, String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct JobSpec {
        pub(super) backoff_limit: u32,
        pub(super) active_deadline_seconds: u32,
        pub(super) ttl_seconds_after_finished: u32,
        pub(super) template: Template,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct DeploymentSpec {
        pub(super) replicas: u32,
        pub(super) selector: Selector,
        pub(super) template: Template,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Selector {
        pub(super) match_labels: BTreeMap<String, String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Template {
        pub(super) metadata: Metadata,
        pub(super) spec: Pod,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Pod {
        pub(super) restart_policy: Option<String>,
        pub(super) automount_service_account_token: bool,
        #[serde(default)]
        pub(super) init_containers: Vec<Container>,
        pub(super) containers: Vec<Container>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Container {
        pub(super) name: String,
        pub(super) image: String,
        #[serde(default)]
        pub(super) command: Vec<String>,
        #[serde(default)]
        pub(super) args: Vec<String>,
        #[serde(default)]
        pub(super) env: Vec<serde_json::Value>,
        pub(super) termination_message_policy: Option<String>,
        pub(super) security_context: Option<SecurityContext>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct SecurityContext {
        pub(super) run_as_non_root: bool,
        pub(super) run_as_user: u32,
        pub(super) allow_privilege_escalation: bool,
        pub(super) read_only_root_filesystem: bool,
        pub(super) capabilities: BTreeMap<String, Vec<String>>,
    }
}

/// The container's command is one that the program takes, and its pod is bound as it should be.
fn checks(container: &kubernetes::Container) {
    assert_eq!(container.name, "tunnelcheck");
    assert!(
        container.image.ends_with(env!("CARGO_PKG_VERSION")),
        "{}",
        container.image
    );
    let command = [&container.command[..], &container.args[..]].concat();
    check(&command);
    let policy = container.termination_message_policy.as_deref();
    assert_eq!(policy, Some("FallbackToLogsOnError"));
    let bound = container.security_context.as_ref().unwrap();
    assert!(bound.run_as_non_root && bound.run_as_user > 0 && bound.read_only_root_filesystem);
    assert!(!bound.allow_privilege_escalation);
    assert_eq!(bound.capabilities["drop"], ["ALL"]);
    assert!(container.env.is_empty());
}

#[test]
fn kubernetes_job() {
    let job: kubernetes::Object<kubernetes::JobSpec> = yaml("kubernetes-job");
    assert_eq!(
        (job.api_version.as_str(), job.kind.as_str()),
        ("batch/v1", "Job")
    );
    assert!(job.metadata.name.is_some() && job.metadata.namespace.is_some());
    let spec = &job.spec;
    assert!(spec.backoff_limit == 0 && spec.active_deadline_seconds > 10);
    assert!(spec.ttl_seconds_after_finished > 0);
    let pod = &spec.template.spec;
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert!(!pod.automount_service_account_token && pod.init_containers.is_empty());
    checks(&pod.containers[0]);
}

#[test]
fn kubernetes_init_container() {
    let deployment: kubernetes::Object<kubernetes::DeploymentSpec> = yaml("kubernetes-init");
    let kind = (deployment.api_version.as_str(), deployment.kind.as_str());
    assert_eq!(kind, ("apps/v1", "Deployment"));
    let spec = &deployment.spec;
    assert!(spec.replicas > 0);
    assert_eq!(spec.selector.match_labels, spec.template.metadata.labels);
    checks(&spec.template.spec.init_containers[0]);
    let cloudflared = &spec.template.spec.containers[0];
    assert!(cloudflared.security_context.is_none() && cloudflared.env.len() == 1);
}

#[test]
fn prometheus_rules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yml");
    std::fs::write(&path, snippet("prometheus-rules")).unwrap();
    let args = ["check", "rules", &path.display().to_string()];
    let output = crate::tool::tool("promtool", &args, "");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && told.contains("4 rules found"),
        "{told}"
    );
}
