//! A little SVG: enough to draw axes, bars, curves and marks, and nothing that needs a script or a network.
//!
//! Each protocol looks the same in every figure, by colour (Okabe and Ito's, which colour-blind readers can tell apart),
//! by mark and by stroke, so that a figure can be read in black and white too.

use std::fmt::Write as _;

/// How a protocol is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// CSS class; the style sheet gives it its colour.
    pub class: &'static str,
    /// Dash pattern of its lines; empty is solid.
    pub dash: &'static str,
    /// Its mark.
    pub mark: Mark,
}

/// Shapes of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A triangle.
    Triangle,
    /// A square on its corner.
    Diamond,
}

/// How this protocol is drawn.
pub fn look(protocol: &str) -> Look {
    match protocol {
        "raft" => Look { class: "raft", dash: "", mark: Mark::Circle },
        "zab" => Look { class: "zab", dash: "6 3", mark: Mark::Square },
        "zookeeper" => Look { class: "third", dash: "2 3", mark: Mark::Triangle },
        _ => Look { class: "fourth", dash: "8 3 2 3", mark: Mark::Diamond },
    }
}

/// The style sheet of all figures. Colours are written out, not as variables, for the sake of programs that turn SVG into
/// other things.
pub const STYLE: &str = "\
svg text{font:13px system-ui,sans-serif}svg .small{font-size:12px}svg .head{font-size:18px;font-weight:600}\
.ink{fill:#1b1b1b}.muted{fill:#555}.grid{stroke:#ddd;stroke-width:1}.axis{stroke:#777;stroke-width:1}\
.event{stroke:#1b1b1b;stroke-width:1;stroke-dasharray:2 2}.ground{fill:#fff}\
.raft{fill:#0072B2;stroke:#0072B2}.zab{fill:#D55E00;stroke:#D55E00}.third{fill:#009E73;stroke:#009E73}\
.fourth{fill:#CC79A7;stroke:#CC79A7}.curve{fill:none;stroke-width:2}.bar{stroke-width:1.5}\
@media(prefers-color-scheme:dark){.ink{fill:#eee}.muted{fill:#b5b5b5}.grid{stroke:#3a3a3a}.axis{stroke:#999}\
.event{stroke:#eee}.ground{fill:#16181c}}";

/// A drawing under way. Coordinates are pixels from the top left corner.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text's position is.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// At its start.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

impl Svg {
    /// An empty drawing.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Its width.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// A line of text.
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.add(format_args!(r#"<text x="{x:.1}" y="{y:.1}" class="{class}" text-anchor="{anchor}">{text}</text>"#));
    }

    /// A straight line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.add(format_args!(r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#));
    }

    /// A protocol's bar, from its left edge to the right.
    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, look: Look) {
        let (class, dash) = (look.class, look.dash);
        // Dashed outline and lighter inside where lines are dashed, so that bars differ without colour as well.
        let opacity = if dash.is_empty() { 0.85 } else { 0.45 };
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="bar {class}" fill-opacity="{opacity}" stroke-dasharray="{dash}"/>"#,
            dash = if dash.is_empty() { "none" } else { dash },
        ));
    }

    /// A plain area in the ground's colour.
    pub fn ground(&mut self) {
        let (w, h) = (self.width, self.height);
        self.add(format_args!(r#"<rect width="{w:.0}" height="{h:.0}" class="ground"/>"#));
    }

    /// A protocol's curve through points.
    pub fn curve(&mut self, points: &[(f64, f64)], look: Look) {
        if points.is_empty() {
            return;
        }
        let mut d = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
        }
        let dash = if look.dash.is_empty() { "none" } else { look.dash };
        self.add(format_args!(r#"<path d="{d}" class="{} curve" stroke-dasharray="{dash}"/>"#, look.class));
    }

    /// A protocol's mark, centred.
    pub fn mark(&mut self, x: f64, y: f64, look: Look) {
        let class = look.class;
        match look.mark {
            Mark::Circle => self.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" class="{class}"/>"#)),
            Mark::Square => self.add(format_args!(
                r#"<rect x="{:.1}" y="{:.1}" width="8" height="8" class="{class}"/>"#,
                x - 4.0,
                y - 4.0
            )),
            Mark::Triangle => self.polygon(&[(x, y - 5.0), (x + 5.0, y + 4.0), (x - 5.0, y + 4.0)], class),
            Mark::Diamond => self.polygon(&[(x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y)], class),
        }
    }

    fn polygon(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(r#"<polygon points="{}" class="{class}"/>"#, points.join(" ")));
    }

    /// Puts another drawing's content at a place.
    pub fn place(&mut self, x: f64, y: f64, other: &Self) {
        self.add(format_args!(r#"<g transform="translate({x:.1} {y:.1})">{}</g>"#, other.body));
    }

    /// The height it was given.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// The element, to stand in a page which has [`STYLE`]. `id` must be unique in the page.
    pub fn inline(&self, id: &str, title: &str, desc: &str) -> String {
        self.element(id, title, desc, "")
    }

    /// A whole file.
    pub fn file(&self, title: &str, desc: &str) -> String {
        let head = format!("<style>{STYLE}</style>");
        format!("{}\n", self.element("picture", title, desc, &head))
    }

    fn element(&self, id: &str, title: &str, desc: &str, head: &str) -> String {
        let (w, h) = (self.width, self.height);
        let (title, desc) = (escape(title), escape(desc));
        // The name space is an identifier, not an address: nothing is fetched from it.
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0} {h:.0}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{title}</title><desc id="{id}-d">{desc}</desc>{head}{}</svg>"#,
            self.body
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element);
    }
}

/// Text as it may stand in XML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// Round values from 0 to at least `max`, about `n` steps.
pub fn ticks(max: f64, n: usize) -> Vec<f64> {
    if max <= 0.0 || !max.is_finite() {
        return vec![0.0, 1.0];
    }
    let raw = max / n.max(1) as f64;
    let magnitude = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * magnitude).find(|s| *s >= raw * 0.999).unwrap_or(raw);
    let count = (max / step).ceil() as usize;
    (0..=count).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover() {
        assert_eq!(ticks(97.0, 4), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(0.0, 4), [0.0, 1.0]);
        for max in [0.3, 1.0, 7.0, 1234.0, 98_765.4] {
            let t = ticks(max, 5);
            assert!(*t.last().unwrap() >= max && t.len() <= 8, "{max}: {t:?}");
        }
    }

    #[test]
    fn nothing_escapes() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text(0.0, 0.0, "ink", Anchor::Start, "<script>&\"");
        assert!(svg.inline("a", "<t>", "\"d\"").contains("&lt;script&gt;&amp;&quot;"));
        assert!(!svg.inline("a", "<t>", "").contains("<t>"));
    }
}
