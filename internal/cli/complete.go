package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// offerCompletions says what the shell scripts of cobra complete: the words of an option that takes one of a
// few, directories and files where an option or an argument names one, else nothing.
func offerCompletions(root *cobra.Command) {
	root.ValidArgsFunction = offer(nil, cobra.ShellCompDirectiveFilterDirs) // all arguments are directories, or URLs
	root.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() != "bool" {
			words, directive := valuesOf(f)
			_ = root.RegisterFlagCompletionFunc(f.Name, offer(words, directive)) // fails for a name that does not exist
		}
	})
}

// valuesOf returns what can be completed of the value of an option.
func valuesOf(f *pflag.Flag) (words []string, directive cobra.ShellCompDirective) {
	kind, _ := pflag.UnquoteUsage(f)
	switch {
	case strings.Contains(kind, "|"):
		words = strings.Split(kind, "|")
		return slices.DeleteFunc(words, func(w string) bool { return w == "" }), cobra.ShellCompDirectiveNoFileComp
	case kind == "DIR":
		return nil, cobra.ShellCompDirectiveFilterDirs
	case kind == "FILE":
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// offer returns a function that always offers the same.
func offer(words []string, directive cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return words, directive
	}
}
