package wire

// Names of the headers that a tree describes itself by, in the canonical form of
// net/http (docs/protocol.md, "Headers of a listing").
const (
	HeaderStamp    = "Tidemark-Stamp"    // the directory's stamp
	HeaderTree     = "Tidemark-Tree"     // the tree id, 32 hex digits
	HeaderEpoch    = "Tidemark-Epoch"    // FormatEpoch
	HeaderPath     = "Tidemark-Path"     // FormatTreePath
	HeaderRuns     = "Tidemark-Runs"     // FormatRuns
	HeaderState    = "Tidemark-State"    // State
	HeaderNow      = "Tidemark-Now"      // the server's clock, a stamp
	HeaderUpstream = "Tidemark-Upstream" // FormatUpstreams
	HeaderVersion  = "Tidemark-Version"  // Version; on every answer of serve
)

// Version is the highest version of the text format that serve writes.
const Version = "1"
