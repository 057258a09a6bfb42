package serve

import (
	"net/http"
	"strconv"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// pageCSP lets the page run its own script and style, told apart by hash, and
// nothing that a file name could smuggle in.
const noCSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Values of headers that many answers share: net/http only reads them.
var (
	noSniff     = []string{"nosniff"}
	noReferrer  = []string{"no-referrer"}
	sameOrigin  = []string{"same-origin"}
	versionOne  = []string{wire.Version}
	rangesNone  = []string{"none"}
	rangesBytes = []string{"bytes"}
	sandbox     = []string{"sandbox"} // a file's scripts are not ours
)

// setTree sets what every answer about the directory at path says of the tree,
// the 304 too: the mirror acts on it.
func (h *Handler) setTree(header http.Header, s *snapshot, path string, stamp, now mtree.Stamp) {
	header[wire.HeaderStamp] = []string{stamp.String()}
	header[wire.HeaderState] = s.state
	header[wire.HeaderNow] = []string{now.String()}
	if s.chain != "" {
		header[wire.HeaderUpstream] = []string{s.chain}
	}
	if s.Tree.ID != "" {
		header[wire.HeaderTree] = s.id
		header[wire.HeaderEpoch] = s.epoch
		if at := s.Tree.At(path); at != "" {
			header[wire.HeaderPath] = []string{wire.FormatTreePath(at)}
		}
		if path != "" {
			return
		}
		if runs := h.tree.runs(stamp); runs != nil {
			header[wire.HeaderRuns] = runs
		}
	}
}

// setListing sets what a listing's 200 and 304 have in common, besides setTree.
func (h *Handler) setListing(header http.Header, v *view) {
	vary, policy := "Accept-Encoding, Accept, User-Agent", "private, max-age=0"
	if v.explicit {
		vary, policy = "Accept-Encoding", h.caching("public, max-age=0, s-maxage=1, stale-while-revalidate=0")
	}
	if v.noStore {
		policy = "no-store"
	}
	header["Accept-Ranges"] = rangesNone
	header["Vary"] = []string{vary}
	header["Cache-Control"] = []string{policy}
}

// setDirDate sets the Last-Modified of a directory.
func setDirDate(header http.Header, stamp, now mtree.Stamp) {
	date, _ := dirDate(stamp, now)
	if text := httpDate(date); text != "" {
		header["Last-Modified"] = []string{text}
	}
}

// caching returns policy, or what stands for it where a token is needed: a
// shared cache must not hand out to others what one client was allowed.
func (h *Handler) caching(policy string) string {
	if h.guard.wanted {
		return "private, no-cache"
	}
	return policy
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
