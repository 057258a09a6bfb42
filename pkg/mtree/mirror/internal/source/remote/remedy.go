package remote

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/mirror/internal/source"
)

const proxyLogin = "a proxy wants a login: http_proxy=http://USER:PASSWORD@HOST:PORT, https_proxy for https"

// Remedy says what a user can do about a source that gives no listing.
func Remedy(err error) string {
	var status *StatusError
	var name *net.DNSError
	var file *fs.PathError
	var dial *net.OpError
	switch {
	case errors.As(err, &status):
		return status.remedy()
	case errors.Is(err, mtree.ErrListing):
		return "it is no listing: a login page, a proxy's, or is SOURCE not the URL of a directory?"
	case errors.Is(err, source.ErrOtherDirectory):
		return "none: the next pass reads what is there now"
	case errors.As(err, &file): // guard: TestRemedyForADirectory
		return "SOURCE is a directory that mirror must be able to enter and read: chmod it and those above, or run mirror as another user"
	case errors.As(err, &dial) && dial.Op == "proxyconnect": // guard: TestRemedyForAProxy
		return "look at http_proxy and https_proxy; no_proxy=HOST goes past them"
	case strings.Contains(err.Error(), http.StatusText(http.StatusProxyAuthRequired)): // of CONNECT; the error has no type
		return proxyLogin
	case errors.As(err, &name) && name.IsNotFound:
		return "check the host's name in SOURCE, and whether this machine can resolve it"
	case errors.As(err, &name):
		return "this machine's name server does not answer"
	case errors.As(err, &dial) && dial.Net == "unix" && errors.Is(err, syscall.EACCES):
		return "give this user rights to the socket: serve's UMask= and group"
	case errors.As(err, &dial) && dial.Net == "unix":
		return "is serve running there, with --listen unix:PATH for this PATH?"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it speaks plain http there: give SOURCE as http://"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is serve running there, and is this its port?"
	}
	return cmp.Or(remedyTLS(err), "is serve running there, and is this its URL?")
}

// remedyTLS says what to do about a certificate, or if only one side speaks TLS; "" if
// the cause is another one.
func remedyTLS(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return "name the CA that signed its certificate, or the certificate itself if it is self-signed: --ca FILE"
	case errors.As(err, &host):
		return "give SOURCE by a name that the certificate is for"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is to be renewed there, or the clock of this machine is wrong"
	case errors.As(err, &record):
		return "it does not speak https there: give SOURCE as http://, if serve runs there"
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`): // a record of TLS
		return "it speaks https there: give SOURCE as https://"
	case strings.Contains(err.Error(), "remote error: tls:"): // the type has no name
		return "does it want a client certificate? give --cert FILE and --key FILE"
	}
	return ""
}

// remedy says what a user can do about a status.
func (e *StatusError) remedy() string {
	switch {
	case e.location != "":
		return "" // the error names the new location
	case e.https:
		return "it speaks https there: give SOURCE as https://"
	}
	switch e.Status {
	case http.StatusUnauthorized:
		return "give a token that the source takes: --token-file FILE"
	case http.StatusForbidden:
		return "the source may not read its own root, or wants a token: --token-file FILE"
	case http.StatusProxyAuthRequired:
		return proxyLogin
	case http.StatusNotFound, http.StatusGone:
		if e.byServe {
			return "serve runs there and has no such directory: check the path in SOURCE"
		}
		return "is this the URL of a served directory? check the path in SOURCE"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if e.byServe {
			return "serve has too much to do, or another directory is at its root (is a disk not mounted?): its log tells"
		}
		return "a proxy there does not reach serve, or serve has too much to do"
	}
	return "is serve running there, and is this its URL?"
}

// speaksTLS finds in the body of a 400 that plain HTTP was sent to a port of HTTPS, in
// the words of Go, nginx, Apache and HAProxy.
var speaksTLS = regexp.MustCompile(`(?i)HTTP request (was sent )?to (an )?HTTPS|plain HTTP to an SSL-enabled`)
