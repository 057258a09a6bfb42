package render

import (
	"strings"

	"tidemark/pkg/mtree"
)

// FileType returns the Content-Type of a file by its extension, from a fixed table: it is
// the same on every host, and is never guessed from the bytes.
func FileType(path string) string {
	name := mtree.BaseName(path)
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || len(name)-dot > 16 {
		return octets
	}
	switch ext := strings.ToLower(name[dot+1:]); ext {
	case "txt", "log", "md", "rst", "csv", "conf", "ini", "diff", "patch", "sh", "go", "c", "h", "py", "asc", "sum":
		return "text/plain; charset=utf-8"
	case "html", "htm":
		return "text/html; charset=utf-8"
	case "css":
		return "text/css; charset=utf-8"
	case "js", "mjs":
		return "text/javascript; charset=utf-8"
	case "json", "map":
		return "application/json"
	case "xml":
		return "text/xml; charset=utf-8"
	case "yaml", "yml", "toml":
		return "text/plain; charset=utf-8"
	case "pdf", "zip", "wasm", "rtf":
		return "application/" + ext
	case "gz", "tgz":
		return "application/gzip"
	case "tar":
		return "application/x-tar"
	case "xz", "txz":
		return "application/x-xz"
	case "zst":
		return "application/zstd"
	case "bz2":
		return "application/x-bzip2"
	case "7z":
		return "application/x-7z-compressed"
	case "deb":
		return "application/vnd.debian.binary-package"
	case "rpm":
		return "application/x-rpm"
	default:
		return mediaType(ext)
	}
}

const octets = "application/octet-stream"

// mediaType is the part of that table with pictures, sounds, films and fonts.
func mediaType(ext string) string {
	switch ext {
	case "png", "gif", "bmp", "webp", "avif", "tiff":
		return "image/" + ext
	case "jpg", "jpeg":
		return "image/jpeg"
	case "svg":
		return "image/svg+xml"
	case "ico":
		return "image/x-icon"
	case "mp3":
		return "audio/mpeg"
	case "ogg", "opus", "flac", "wav":
		return "audio/" + ext
	case "m4a":
		return "audio/mp4"
	case "mp4", "webm", "mpeg":
		return "video/" + ext
	case "mkv":
		return "video/x-matroska"
	case "mov":
		return "video/quicktime"
	case "woff", "woff2", "ttf", "otf":
		return "font/" + ext
	}
	return octets
}
