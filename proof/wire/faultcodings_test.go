package wire

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"strings"
)

// Bodies that are coded otherwise than they should be.

var codings = []fault{
	{name: "gzip", make: coded("gzip", pack)},
	{name: "gzip-untold", blindElsewhere: true, make: coded("", pack)},
	{name: "gzip-twice", make: coded("gzip", pack, pack)},
	{name: "gzip-twice-told", make: coded("gzip, gzip", pack, pack)},
	{name: "gzip-half", make: coded("gzip", func(b []byte) []byte { return pack(b)[:len(pack(b))/2] })},
	{name: "gzip-no-trailer", make: coded("gzip", func(b []byte) []byte { return pack(b)[:len(pack(b))-8] })},
	{name: "gzip-in-name", blindElsewhere: true, make: coded("gzip", func(b []byte) []byte { return b })},
	{name: "deflate", make: coded("deflate", deflate)},
	{name: "br-in-name", make: coded("br", func(b []byte) []byte { return b })},
	{name: "identity", make: coded("identity", func(b []byte) []byte { return b })},
	{name: "unpacked", make: coded("", func(b []byte) []byte { return b })},
	{name: "crlf", blindElsewhere: true, only: []string{isListing, isNews, isSums}, make: coded("", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) })},
	{name: "bom", blindElsewhere: true, only: []string{isListing, isNews, isSums}, make: coded("", func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) })},
	{name: "latin-1", blind: true /* a name is any bytes */, blindElsewhere: true, only: []string{isListing, isNews}, make: coded("", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("ä"), []byte("\xe4")) })},
	{name: "utf-16", blindElsewhere: true, only: []string{isListing}, make: coded("", func(b []byte) []byte {
		wide := []byte("\xff\xfe")
		for _, c := range b {
			wide = append(wide, c, 0)
		}
		return wide
	})},
	{name: "upper-case", blindElsewhere: true, only: []string{isListing}, make: coded("", bytes.ToUpper)},
	{name: "white-space", blindElsewhere: true, only: []string{isListing}, make: coded("", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\t"), []byte("    ")) })},
	{name: "trimmed", blindElsewhere: true, only: []string{isListing, isSums}, make: coded("", bytes.TrimSpace)},
	{name: "comment", blindElsewhere: true, only: []string{isListing}, make: coded("", func(b []byte) []byte { return append(b, "<!-- cached -->\n"...) })},
	{name: "crlf-file", blindElsewhere: true, only: []string{isFile}, make: coded("", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("e"), []byte("\r\n")) })},
}

// coded returns the reply whose body was unpacked, changed, and named as of a coding.
func coded(name string, changes ...func(b []byte) []byte) func(ex *exchange) reply {
	return changed(func(a *answer) {
		if strings.EqualFold(a.header.Get("Content-Encoding"), "gzip") {
			a.body = unpack(a.body)
			a.header.Del("Content-Encoding")
		}
		for _, change := range changes {
			a.body = change(a.body)
		}
		if name != "" {
			a.header.Set("Content-Encoding", name)
		}
	})
}

func pack(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, 5)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func unpack(b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return b
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return b
	}
	return text
}
