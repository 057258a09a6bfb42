package hostile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

const secret = "s3cr3t-that-nobody-may-see"

// byAnotherName asks for the same server by an address of which mirror does not know that
// it is this machine, so that it asks for compressed answers.
func byAnotherName(p *peer, _ testing.TB) (string, []string) {
	return strings.Replace(p.URL, "127.0.0.1", "0.0.0.0", 1) + "/", nil
}

// withToken asks with a token.
func withToken(p *peer, t testing.TB) (string, []string) {
	name := filepath.Join(temporary(t), "token")
	require.NoError(t, os.WriteFile(name, []byte(secret+"\n"), 0o600))
	return p.URL + "/", []string{"--token-file", name}
}

// withPassword asks with a password in the URL.
func withPassword(p *peer, _ testing.TB) (string, []string) {
	return strings.Replace(p.URL, "http://", "http://user:"+secret+"@", 1) + "/", nil
}

// untold requires that the secret is neither in what was said nor on the disk.
func untold(b *box, _ *peer, r result) (faults []string) {
	if strings.Contains(r.text, secret) {
		faults = append(faults, "it says the secret: "+r.text)
	}
	_ = filepath.WalkDir(b.copy, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), secret) {
				faults = append(faults, path+" holds the secret")
			}
		}
		return nil
	})
	return faults
}

// elsewhere redirects everything to a foreign listener.
var elsewhere = play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
	http.Redirect(w, r, "http://10.1.2.3:8080"+r.URL.Path, http.StatusTemporaryRedirect)
	return true
}}

// overTLS is a server behind TLS of these kinds, in the place of the plain one.
func overTLS(name string, config func(c *tls.Config), cert func(c *x509.Certificate)) server {
	return server{name: name, codes: []exit.Code{exit.Unreachable}, source: func(p *peer, t testing.TB) (string, []string) {
		ca := filepath.Join(temporary(t), "ca.pem")
		pair := certificate(t, ca, cert)
		s := httptest.NewUnstartedServer(p)
		s.Config.ErrorLog = discard
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		if config != nil {
			config(s.TLS)
		}
		s.StartTLS()
		t.Cleanup(func() { s.CloseClientConnections(); _ = s.Listener.Close() })
		return s.URL + "/", []string{"--ca", ca}
	}}
}

// certificate makes one that signs itself, for 127.0.0.1 and today unless alter says
// otherwise, and writes it into a file.
func certificate(t testing.TB, file string, alter func(c *x509.Certificate)) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if alter != nil {
		alter(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// ownerOf is the user that owns a file.
func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// credentials are servers that want to know secrets, and TLS that proves nothing.
var credentials = []server{
	{name: "token-is-not-sent-elsewhere", codes: []exit.Code{exit.Unreachable}, source: withToken, play: elsewhere, check: untold},
	{name: "token-is-not-said", codes: []exit.Code{exit.Unreachable}, source: withToken, play: raw("", "HTTP/1.1 401 "+secret[:5]+"\r\nContent-Length: 0\r\n\r\n"), check: untold},
	{name: "token-comes-back", codes: []exit.Code{exit.Unreachable}, source: withToken, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "x", http.StatusForbidden)
		return true
	}}, check: untold},
	{name: "token-works", codes: fine, source: withToken, play: play{answer: func(_ *peer, w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}}, check: untold},
	{name: "password-is-not-sent-elsewhere", codes: []exit.Code{exit.Unreachable}, source: withPassword, play: elsewhere, check: untold},
	{name: "password-is-not-said", codes: []exit.Code{exit.Failed}, source: withPassword, play: addTo("a", "..\t1"), check: untold},
	{name: "password-is-not-recorded", codes: fine, source: withPassword, check: untold},
	{name: "password-with-a-broken-answer", codes: []exit.Code{exit.Unreachable}, source: withPassword, play: raw("", "x\x1b[31m\r\n\r\n"), check: untold},
	overTLS("tls-of-another-name", nil, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 1, 2, 3)} }),
	overTLS("tls-expired", nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
	overTLS("tls-of-tomorrow", nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
	overTLS("tls-names-in-colours", nil, func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames, c.Subject.CommonName = nil, []string{"x.example.org"}, colours[:8]
	}),
	overTLS("tls-1.0", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, nil),
	overTLS("tls-1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, nil),
	overTLS("tls-wants-a-certificate", func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, nil),
	{name: "tls-signed-by-nobody", codes: []exit.Code{exit.Unreachable}, says: "--ca", source: func(p *peer, t testing.TB) (string, []string) {
		s := overTLS("", nil, nil)
		url, _ := s.source(p, t)
		return url, nil
	}},
	{name: "tls-is-plain-text", codes: []exit.Code{exit.Unreachable}, says: "http://", source: func(p *peer, _ testing.TB) (string, []string) {
		return strings.Replace(p.URL, "http://", "https://", 1) + "/", nil
	}},
	{name: "tls-redirects-to-plain", codes: []exit.Code{exit.Unreachable}, source: overTLS("", nil, nil).source, play: elsewhere},
}
