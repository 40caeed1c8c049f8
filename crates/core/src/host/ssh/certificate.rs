//! Says whether a host's certificate is good: who signed it, for whom, until when.

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, ssh_key::certificate::CertType};

/// Says what is wrong with a host's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateFault {
    #[error("no @cert-authority line names its authority {0}")]
    Authority(String),
    #[error("it is a user's")]
    Kind,
    #[error("it is for {0}, not for {1}")]
    Name(String, String),
    #[error("it is not valid yet: it begins {0}")]
    Early(String),
    #[error("it has expired: it ended {0}")]
    Late(String),
    #[error("it makes conditions that a host cannot meet: {0}")]
    Conditions(String),
    #[error("its authority signed it with {0}")]
    Algorithm(String),
    #[error("its signature is wrong")]
    Signature,
}

/// What a certificate must be for a host to be taken at its word.
pub(crate) struct Wanted<'a> {
    /// The name it must be for.
    pub(crate) called: &'a str,
    /// Who may have signed it.
    pub(crate) authorities: &'a [&'a PublicKey],
    /// And with what.
    pub(crate) algorithms: &'a [String],
    /// Seconds since 1970.
    pub(crate) now: u64,
}

impl Wanted<'_> {
    /// Says whether a certificate is all that; as in OpenSSH, one that names nobody is for everybody.
    pub(crate) fn judge(&self, certificate: &Certificate) -> Result<(), CertificateFault> {
        let signer = certificate.signature_key();
        let print = signer.fingerprint(HashAlg::Sha256);
        if self.authorities.iter().all(|key| key.key_data() != signer) {
            return Err(CertificateFault::Authority(print.to_string()));
        }
        if certificate.cert_type() != CertType::Host {
            return Err(CertificateFault::Kind);
        }
        let names = certificate.valid_principals();
        if !names.is_empty() && names.iter().all(|name| name != self.called) {
            return Err(CertificateFault::Name(names.join(", "), self.called.to_owned()));
        }
        if self.now < certificate.valid_after() {
            return Err(CertificateFault::Early(day(certificate.valid_after())));
        }
        if self.now >= certificate.valid_before() {
            return Err(CertificateFault::Late(day(certificate.valid_before())));
        }
        let conditions: Vec<&str> =
            certificate.critical_options().keys().map(String::as_str).collect();
        if !conditions.is_empty() {
            return Err(CertificateFault::Conditions(conditions.join(", ")));
        }
        let algorithm = name_of(&certificate.signature().algorithm());
        if !self.algorithms.contains(&algorithm) {
            return Err(CertificateFault::Algorithm(algorithm));
        }
        // Once more by the library, and with it the signature.
        certificate.validate_at(self.now, [&print]).map_err(|_| CertificateFault::Signature)
    }
}

fn name_of(algorithm: &Algorithm) -> String {
    algorithm.to_string()
}

fn day(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(|| "never".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
