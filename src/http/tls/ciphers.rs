//! OpenSSL cipher lists, as far as there is something to choose: rustls has six suites of TLS 1.2
//! and three of TLS 1.3, and as with OpenSSL a list chooses among the former alone.

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite as suites;

/// OpenSSL's name of a suite, and the words of its language that mean it among others.
const KNOWN: [(SupportedCipherSuite, &str, &[&str]); 6] = [
    (
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        &["AES256", "AES", "AESGCM", "ECDSA", "aECDSA", "SHA384"],
    ),
    (
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        &["AES256", "AES", "AESGCM", "aRSA", "SHA384"],
    ),
    (
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        &["CHACHA20", "ECDSA", "aECDSA"],
    ),
    (
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        &["CHACHA20", "aRSA"],
    ),
    (
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        &["AES128", "AES", "AESGCM", "ECDSA", "aECDSA", "SHA256"],
    ),
    (
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        &["AES128", "AES", "AESGCM", "aRSA", "SHA256"],
    ),
];

/// Words that mean all of them.
const ALL: [&str; 7] = ["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "TLSv1.2"];

fn means(word: &str, name: &str, words: &[&str]) -> bool {
    ALL.contains(&word) || word == name || words.contains(&word)
}

/// The suites of `list`, in its order, after those of TLS 1.3 among `usual`.
///
/// # Errors
/// A word that means no suite of rustls, or nothing left.
pub fn select(
    list: &str,
    usual: &[SupportedCipherSuite],
) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut banned: Vec<usize> = Vec::new();
    for item in list.split([':', ',', ' ', ';']).filter(|item| !item.is_empty()) {
        // Strength is the order that they are in anyway.
        if item == "@STRENGTH" || item.starts_with("@SECLEVEL=") {
            continue;
        }
        let (sign, words) = match item.as_bytes()[0] {
            sign @ (b'!' | b'-' | b'+') => (sign, &item[1..]),
            _ => (b' ', item),
        };
        let meant: Vec<usize> = (0..KNOWN.len())
            .filter(|&at| words.split('+').all(|word| means(word, KNOWN[at].1, KNOWN[at].2)))
            .collect();
        match sign {
            b'!' => banned.extend(meant),
            b'-' => chosen.retain(|at| !meant.contains(at)),
            b'+' => {
                let (last, first): (Vec<usize>, Vec<usize>) =
                    chosen.iter().partition(|at| meant.contains(at));
                chosen = [first, last].concat();
            }
            _ if meant.is_empty() => {
                let names = KNOWN.map(|(_, name, _)| name).join(", ");
                return Err(format!(
                    "rustls has no cipher suite {item}; for TLS 1.2 it has {names}"
                ));
            }
            _ => {
                let new = meant.into_iter().filter(|at| !chosen.contains(at)).collect::<Vec<_>>();
                chosen.extend(new);
            }
        }
    }
    chosen.retain(|at| !banned.contains(at));
    if chosen.is_empty() {
        return Err("No cipher can be selected.".to_owned());
    }
    let newest = usual.iter().filter(|suite| suite.tls13().is_some()).copied();
    Ok(newest.chain(chosen.into_iter().map(|at| KNOWN[at].0)).collect())
}

/// The suites of `list`, with rustls' own of TLS 1.3.
///
/// # Errors
/// As [`select`]'s.
pub fn select_usual(list: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    select(list, rustls::crypto::ring::DEFAULT_CIPHER_SUITES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::ring::DEFAULT_CIPHER_SUITES;

    fn names(list: &str) -> Result<Vec<&'static str>, String> {
        let selected = select(list, DEFAULT_CIPHER_SUITES)?;
        assert_eq!(selected.iter().filter(|suite| suite.tls13().is_some()).count(), 3);
        let name = |suite: &SupportedCipherSuite| {
            KNOWN.iter().find(|(known, ..)| known == suite).map(|(_, name, _)| *name)
        };
        Ok(selected.iter().filter_map(name).collect())
    }

    #[test]
    fn lists_choose_in_their_order() {
        let two = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384";
        assert_eq!(names(two).expect("known"), two.split(':').collect::<Vec<_>>());
        assert_eq!(names("HIGH:!aNULL:!MD5:!RC4").expect("all").len(), 6);
        let aes = names("ECDHE+AESGCM:!aECDSA").expect("two");
        assert_eq!(aes, ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(names("ALL:-AES:@STRENGTH").expect("two").len(), 2);
        assert_eq!(names("ALL:+CHACHA20").expect("all")[4], "ECDHE-ECDSA-CHACHA20-POLY1305");
    }

    #[test]
    fn what_rustls_lacks_is_refused() {
        let error = names("ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA").expect_err("no such suite");
        assert!(error.starts_with("rustls has no cipher suite AES128-SHA; "), "{error}");
        for nothing in ["", "ALL:!ALL", "!AES"] {
            assert_eq!(names(nothing), Err("No cipher can be selected.".to_owned()));
        }
    }
}
