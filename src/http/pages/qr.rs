//! QR codes, as SVG without style or script, which the policy of pages forbids. Always dark on light, in every theme: cameras expect it.

use std::fmt::Write as _;

use askama::Template;
use askama::filters::HtmlSafe;
use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code.
const BORDER: i32 = 4;

/// A QR code. `{{ qr }}` in a template shows it.
#[derive(Template)]
#[template(
    source = "<svg class=\"qr\" role=\"img\" aria-label=\"QR code\" viewBox=\"0 0 {{ size }} {{ size }}\" \
              shape-rendering=\"crispEdges\"><rect width=\"{{ size }}\" height=\"{{ size }}\" fill=\"#fff\"/>\
              <path d=\"{{ path }}\" fill=\"#000\"/></svg>",
    ext = "html"
)]
pub struct Qr {
    size: i32,
    path: String,
}

impl HtmlSafe for Qr {}

impl Qr {
    /// The code of this text; `None` if it is too long.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        let mut path = String::new();
        for y in 0..code.size() {
            for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{} {}h1v1h-1z", x + BORDER, y + BORDER);
            }
        }
        Some(Self { size: code.size() + 2 * BORDER, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_markup_without_style_and_too_much_text_has_none() {
        let svg = Qr::of("otpauth://totp/bangui:anna?secret=GEZD").unwrap().to_string();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && svg.contains("M4 4h1v1h-1z"), "{svg}");
        assert!(!svg.contains("style") && !svg.contains("script") && !svg.contains("GEZD"), "{svg}");
        assert!(Qr::of(&"x".repeat(3000)).is_none());
    }
}
