//! Roles, delegations, thresholds and keys as a picture.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Repository;
use crate::metadata::{DelegatedRole, KeyId, RoleName};

/// A role in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    role: RoleName,
    label: String,
    /// How far from the root it is drawn.
    depth: usize,
    threshold: u64,
    keys: Vec<KeyId>,
}

/// A delegation in the picture, between two nodes by index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    from: usize,
    to: usize,
    label: String,
}

/// The roles of a repository and who trusts whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

impl Repository {
    /// Draws the staged state with drafts in force.
    pub fn picture(&self) -> Picture {
        let view = self.staged.effective();
        let graph = view.graph();
        let mut nodes: Vec<Node> = Vec::new();
        let mut index: BTreeMap<RoleName, usize> = BTreeMap::new();
        for role in super::sign::signing_order_of(graph.representatives()) {
            let current =
                view.authorities(&role, &graph).into_iter().filter(|(_, old_root)| old_root.is_none());
            let (mut threshold, mut keys) = (0, Vec::new());
            for (authority, _) in current {
                threshold = threshold.max(authority.threshold().get());
                keys.extend(
                    authority
                        .keys()
                        .iter()
                        .map(|(id, _)| (*id).clone())
                        .filter(|id| !keys.contains(id))
                        .collect::<Vec<_>>(),
                );
            }
            let above = graph
                .delegators(&role)
                .iter()
                .filter_map(|delegator| index.get(delegator))
                .map(|at: &usize| nodes[*at].depth);
            let depth = if role.as_str() == "root" { 0 } else { above.min().unwrap_or(0) + 1 };
            index.insert(role.clone(), nodes.len());
            let label = match graph.bins_of(&role) {
                Some(set) => format!("{} ({} hash bins)", set.bins.prefix(), set.bins.number()),
                None => role.to_string(),
            };
            nodes.push(Node { role, label, depth, threshold, keys });
        }
        let mut edges = Vec::new();
        for (to, node) in nodes.iter().enumerate().filter(|(_, node)| node.role.as_str() != "root") {
            let delegators = match node.role.is_top_level() {
                true => vec![RoleName::root()],
                false => graph.delegators(&node.role).to_vec(),
            };
            for delegator in delegators {
                let Some(from) = index.get(&delegator).copied() else { continue };
                let delegations = view.targets(&delegator).and_then(|targets| targets.delegations.as_ref());
                let label = match delegations.and_then(|delegations| delegations.role(&node.role)) {
                    Some(_) if graph.bins_of(&node.role).is_some() => "by path hash".to_owned(),
                    Some(delegated) => trust(delegated),
                    None if node.role.is_top_level() => String::new(),
                    None => "by path hash".to_owned(),
                };
                edges.push(Edge { from, to, label });
            }
        }
        Picture { nodes, edges }
    }
}

/// Says what a role is trusted for, shortly.
fn trust(role: &DelegatedRole) -> String {
    let (listed, kind) = match (&role.paths, &role.path_hash_prefixes) {
        (Some(paths), _) => (paths.as_slice(), ""),
        (None, Some(prefixes)) => (prefixes.as_slice(), "hash "),
        (None, None) => (&[][..], ""),
    };
    let shown: Vec<&str> = listed.iter().take(3).map(String::as_str).collect();
    let more = if listed.len() > shown.len() {
        format!(" and {} more", listed.len() - shown.len())
    } else {
        String::new()
    };
    let end = if role.terminating { " (terminating)" } else { "" };
    format!("{kind}{}{more}{end}", shown.join(", "))
}

impl Node {
    fn keys(&self) -> String {
        let ids: Vec<&str> = self.keys.iter().map(KeyId::short).collect();
        format!(
            "{} of {}: {}",
            self.threshold,
            self.keys.len(),
            if ids.is_empty() { "no keys".to_owned() } else { ids.join(", ") }
        )
    }
}

impl Picture {
    /// Writes the picture in the language of Mermaid.
    pub fn mermaid(&self) -> String {
        let escaped = |text: &str| {
            text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
        };
        let mut text = "graph TD\n".to_owned();
        for (at, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(
                text,
                "  n{at}[\"{}<br/>{}\"]",
                escaped(&printable(&node.label)),
                escaped(&node.keys())
            );
        }
        for Edge { from, to, label } in &self.edges {
            let _ = match label.is_empty() {
                true => writeln!(text, "  n{from} --> n{to}"),
                false => writeln!(text, "  n{from} -->|\"{}\"| n{to}", escaped(&printable(label))),
            };
        }
        text
    }

    /// Writes the picture in the language of Graphviz.
    pub fn dot(&self) -> String {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = "digraph tuf {\n  node [shape=box];\n".to_owned();
        for (at, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(
                text,
                "  n{at} [label=\"{}\\n{}\"];",
                escaped(&printable(&node.label)),
                escaped(&node.keys())
            );
        }
        for Edge { from, to, label } in &self.edges {
            let _ = match label.is_empty() {
                true => writeln!(text, "  n{from} -> n{to};"),
                false => writeln!(text, "  n{from} -> n{to} [label=\"{}\"];", escaped(&printable(label))),
            };
        }
        text + "}\n"
    }

    /// Writes the picture as an image: a row for each distance from the root.
    pub fn svg(&self) -> String {
        const WIDTH: usize = 250;
        const HEIGHT: usize = 56;
        const GAP: (usize, usize) = (30, 70);
        let mut rows: Vec<usize> = Vec::new();
        let places: Vec<(usize, usize)> = self
            .nodes
            .iter()
            .map(|node| {
                rows.resize(rows.len().max(node.depth + 1), 0);
                let column = rows[node.depth];
                rows[node.depth] += 1;
                (20 + column * (WIDTH + GAP.0), 20 + node.depth * (HEIGHT + GAP.1))
            })
            .collect();
        let width = 40 + rows.iter().max().unwrap_or(&1) * (WIDTH + GAP.0);
        let height = 40 + rows.len() * (HEIGHT + GAP.1) - GAP.1;
        let escaped = |text: &str| {
            printable(text)
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
        };
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        for Edge { from, to, label } in &self.edges {
            let ((x1, y1), (x2, y2)) = (places[*from], places[*to]);
            let (x1, y1, x2) = (x1 + WIDTH / 2, y1 + HEIGHT, x2 + WIDTH / 2);
            let _ = writeln!(text, "<path d=\"M{x1} {y1} L{x2} {y2}\" stroke=\"#555\" fill=\"none\"/>");
            let _ = writeln!(text, "<circle cx=\"{x2}\" cy=\"{y2}\" r=\"4\" fill=\"#555\"/>");
            if !label.is_empty() {
                let _ = writeln!(
                    text,
                    "<text x=\"{}\" y=\"{}\" fill=\"#555\" font-size=\"11\">{}</text>",
                    x2 + 8,
                    y2 - 8,
                    escaped(&short(label, 40))
                );
            }
        }
        for (node, (x, y)) in self.nodes.iter().zip(&places) {
            let _ = writeln!(
                text,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"#eef4fb\" stroke=\"#336\"/>\n\
                 <text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\" font-weight=\"bold\">{2}</text>\n\
                 <text x=\"{0}\" y=\"{3}\" text-anchor=\"middle\" font-size=\"11\">{4}</text>",
                x + WIDTH / 2,
                y + 23,
                escaped(&short(&node.label, 30)),
                y + 43,
                escaped(&short(&node.keys(), 42)),
            );
        }
        text + "</svg>\n"
    }
}

/// Makes control characters visible: a picture is text for another program.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

fn short(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{keys, open, repository, scratch, start};
    use super::super::{Delegation, Trust};
    use super::*;
    use crate::crypto::Signer;
    use crate::metadata::Threshold;

    #[test]
    fn draws_who_trusts_whom_in_three_languages() {
        let dir = scratch();
        let keys = keys();
        repository(dir.path(), &keys);
        let mut repository = open(dir.path(), start());
        let delegation = Delegation {
            name: RoleName::parse("a<b> \"c\"").unwrap(),
            from: RoleName::targets(),
            keys: vec![keys[1].public_key().clone()],
            threshold: Threshold::ONE,
            trust: Trust::Paths(vec!["a/*".into(), "b/*".into(), "c/*".into(), "d/*".into()]),
            terminating: true,
            before: None,
        };
        repository.delegate(delegation).unwrap();
        let picture = repository.picture();
        let mermaid = picture.mermaid();
        assert!(mermaid.contains("n0 --> n1"), "{mermaid}");
        assert!(mermaid.contains("-->|\"a/*, b/*, c/* and 1 more (terminating)\"|"), "{mermaid}");
        assert!(mermaid.contains("a&lt;b&gt; &quot;c&quot;"), "{mermaid}");
        assert!(picture.dot().contains("label=\"a<b> \\\"c\\\"\\n1 of 1: "), "{}", picture.dot());
        let svg = picture.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("a<b>"));
    }
}
