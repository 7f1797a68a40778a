/**
 * The command line: one class per subcommand, and what only a person at a terminal needs (the
 * console, the cache of guests, words for how a run ended). Knows everything; nothing knows it.
 */
package dev.vmexit.cli;
