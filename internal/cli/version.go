package cli

import "runtime/debug"

// version is set by the linker: -X tidemark/internal/cli.version=1.2.3.
var version = "devel"

// Version returns the version of this build.
func Version() string { return version }

// versionText is what --version prints.
func versionText(name string) string {
	text := "tidemark-" + name + " " + version
	if info, ok := debug.ReadBuildInfo(); ok {
		text += " (" + info.GoVersion + ")"
	}
	return text + "\n"
}
