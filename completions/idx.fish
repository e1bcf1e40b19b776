# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_idx_global_optspecs
    string join \n f/format= color= progress= mmap= h/help V/version
end

function __fish_idx_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_idx_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_idx_using_subcommand
    set -l cmd (__fish_idx_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c idx -n "__fish_idx_needs_command" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_needs_command" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_needs_command" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_needs_command" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_needs_command" -s V -l version -d 'Print version'
complete -c idx -n "__fish_idx_needs_command" -f -a "check" -d 'Check index files for damage; silent when all is well'
complete -c idx -n "__fish_idx_needs_command" -f -a "dump" -d 'Show what is physically in index files, field by field'
complete -c idx -n "__fish_idx_needs_command" -f -a "log" -d 'Show the history of a mailbox: every record of .log.2 and .log, in order, and when it was written'
complete -c idx -n "__fish_idx_needs_command" -f -a "show" -d 'Show a mailbox as Dovecot would present it: index plus logs replayed'
complete -c idx -n "__fish_idx_needs_command" -f -a "modseq" -d 'Show modseqs: the highest, each file\'s, each message\'s, and the log position one stands for'
complete -c idx -n "__fish_idx_needs_command" -f -a "expunges" -d 'List expunged messages: which, when, asked for by whom, and how far back the logs know'
complete -c idx -n "__fish_idx_needs_command" -f -a "qresync" -d 'Say what a server must answer to SELECT (QRESYNC (V M ...))'
complete -c idx -n "__fish_idx_needs_command" -f -a "rebuild" -d 'Write a new dovecot.index from the logs, on the best base that survives'
complete -c idx -n "__fish_idx_needs_command" -f -a "undo" -d 'Put back, byte for byte, what the last rebuild of a mailbox replaced'
complete -c idx -n "__fish_idx_needs_command" -f -a "scan" -d 'List every mailbox below a directory: name, user, storage format, counts, sizes, state'
complete -c idx -n "__fish_idx_needs_command" -f -a "simulate" -d 'Simulate log rotation and what it means for QRESYNC clients'
complete -c idx -n "__fish_idx_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c idx -n "__fish_idx_needs_command" -f -a "man" -d 'Write the man pages of idx and of every verb into a directory'
complete -c idx -n "__fish_idx_needs_command" -f -a "help" -d 'Show the man page of idx or of a verb'
complete -c idx -n "__fish_idx_using_subcommand check" -s j -l jobs -d 'Threads that read mailboxes [default: one per processor]' -r
complete -c idx -n "__fish_idx_using_subcommand check" -l mail-location -d 'Where mail, indexes and control files are, if they are not found beside each other: Dovecot\'s mail_location (maildir:~/Maildir:INDEX=/var/index/%u), or its settings of 2.4 ("mail_path=~/Maildir mail_index_path=/idx/%u")' -r
complete -c idx -n "__fish_idx_using_subcommand check" -l fail-on -d 'What makes the exit code 1' -r -f -a "warning\t'Warnings and errors'
error\t'Errors'"
complete -c idx -n "__fish_idx_using_subcommand check" -l prometheus -d 'Write metrics to FILE for the textfile collector of Prometheus\' node exporter; - is standard output' -r -F
complete -c idx -n "__fish_idx_using_subcommand check" -l max-log-size -d 'Warn of logs larger than this such as 64k, 1M, "1.5 MiB"' -r
complete -c idx -n "__fish_idx_using_subcommand check" -l max-cache-size -d 'Warn of caches larger than this' -r
complete -c idx -n "__fish_idx_using_subcommand check" -l min-window -d 'Warn of logs that reach back less than this such as 3d, "2 days", 90m' -r
complete -c idx -n "__fish_idx_using_subcommand check" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand check" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand check" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand check" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand check" -s v -l verbose -d 'Also show what Dovecot does about each finding, the remedy, and what is merely worth knowing'
complete -c idx -n "__fish_idx_using_subcommand check" -l deep -d 'Also check against the mail storage: Maildir, sdbox and mdbox files, the mailbox list, private flags'
complete -c idx -n "__fish_idx_using_subcommand check" -l cross -d 'Also search file systems that are mounted below a directory'
complete -c idx -n "__fish_idx_using_subcommand check" -l one-file-system -d 'Stay on the file system of each directory that is named; this is the default'
complete -c idx -n "__fish_idx_using_subcommand check" -l nagios -d 'Print one line as a Nagios plugin does, and exit with 0 (OK) to 3 (UNKNOWN)'
complete -c idx -n "__fish_idx_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand dump" -l section -d 'Only these sections' -r -f -a "header\t'The file header'
extensions\t'Extension headers of an index'
keywords\t'Keyword names of an index'
records\t'Records of an index, a cache, a thread index or a mailbox log; also those of a transaction log'
fields\t'Fields of a cache'
transactions\t'Records of a transaction log'"
complete -c idx -n "__fish_idx_using_subcommand dump" -l uid -d 'Only records of these messages' -r
complete -c idx -n "__fish_idx_using_subcommand dump" -l limit -d 'At most N records of each file' -r
complete -c idx -n "__fish_idx_using_subcommand dump" -l kind -d 'Read the files as this kind, whatever they look like' -r
complete -c idx -n "__fish_idx_using_subcommand dump" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand dump" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand dump" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand dump" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand dump" -l hex -d 'Name and show every byte'
complete -c idx -n "__fish_idx_using_subcommand dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand log" -l uid -d 'Only records that name these messages, told as their life' -r
complete -c idx -n "__fish_idx_using_subcommand log" -l type -d 'Only these record types, such as append, flag-update, expunge-guid' -r
complete -c idx -n "__fish_idx_using_subcommand log" -l modseq -d 'Only records after which the modseq is N, or from A to B; either may be left out' -r
complete -c idx -n "__fish_idx_using_subcommand log" -l position -d 'Only records that begin at or between these log positions; either may be left out' -r
complete -c idx -n "__fish_idx_using_subcommand log" -l since -d 'Only what may have been written since: "2026-11-23 03:52", 03:52, yesterday, "3d ago", UNIX seconds, RFC 3339' -r
complete -c idx -n "__fish_idx_using_subcommand log" -l until -d 'Only what may have been written until then' -r
complete -c idx -n "__fish_idx_using_subcommand log" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand log" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand log" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand log" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand log" -l stats -d 'Count records and bytes by type, by origin and by hour'
complete -c idx -n "__fish_idx_using_subcommand log" -l follow -d 'Go on with what is written from now on, across rotations, until interrupted'
complete -c idx -n "__fish_idx_using_subcommand log" -l evidence -d 'Say which clocks gave the times'
complete -c idx -n "__fish_idx_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand show" -l uid -d 'Only these messages' -r
complete -c idx -n "__fish_idx_using_subcommand show" -l at -d 'The mailbox as it was at a log position SEQ:OFFSET, or when its highest modseq was N (modseq:N)' -r
complete -c idx -n "__fish_idx_using_subcommand show" -l pvt -d 'Directory of the private index with the user\'s own flags' -r -F
complete -c idx -n "__fish_idx_using_subcommand show" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand show" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand show" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand show" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand modseq" -l uid -d 'Only these messages' -r
complete -c idx -n "__fish_idx_using_subcommand modseq" -l locate -d 'The log position that a modseq stands for, and how QRESYNC with it is answered' -r
complete -c idx -n "__fish_idx_using_subcommand modseq" -l decode -d 'Take a number apart: a count of changes, or a log position as in snapshots of 2008' -r
complete -c idx -n "__fish_idx_using_subcommand modseq" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand modseq" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand modseq" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand modseq" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand modseq" -l history -d 'Every step of the modseq, one line each'
complete -c idx -n "__fish_idx_using_subcommand modseq" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand expunges" -l since -d 'What a client has not seen that knows this modseq, or what may have happened since this time' -r
complete -c idx -n "__fish_idx_using_subcommand expunges" -l uid -d 'Only these messages' -r
complete -c idx -n "__fish_idx_using_subcommand expunges" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand expunges" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand expunges" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand expunges" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand expunges" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand qresync" -l uidvalidity -d 'The UIDVALIDITY the client knows' -r
complete -c idx -n "__fish_idx_using_subcommand qresync" -l modseq -d 'The HIGHESTMODSEQ the client knows' -r
complete -c idx -n "__fish_idx_using_subcommand qresync" -l known -d 'The UIDs the client knows; all when not given' -r
complete -c idx -n "__fish_idx_using_subcommand qresync" -l seq-match -d 'Sequence numbers and UIDs of some messages the client knows' -r
complete -c idx -n "__fish_idx_using_subcommand qresync" -l versus -d 'A recorded IMAP session to compare; what the client sent then stands in for options not given' -r -F
complete -c idx -n "__fish_idx_using_subcommand qresync" -l pvt -d 'Directory of the private index with the user\'s own flags' -r -F
complete -c idx -n "__fish_idx_using_subcommand qresync" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand qresync" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand qresync" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand qresync" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand qresync" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -s o -l output -d 'Write the resulting files to DIR, which is new or your own, and touch nothing here; needs no lock' -r -F
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l base -d 'What to build on' -r -f -a "auto\t'The first of these that loses nothing'
index\t'The main index and the logs after it'
backup\t'dovecot.index.backup and the logs after it'
log\t'Logs that start from an empty mailbox'
storage\t'The mail storage, and what the logs tell of its messages'"
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l accept-loss -d 'Go on although something is lost, or something of these grades: history, flags, messages, uidvalidity; exit code 1' -r
complete -c idx -n "__fish_idx_using_subcommand rebuild" -s j -l jobs -d 'Threads that read mailboxes [default: one per processor]' -r
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l journal -d 'Add to FILE a line of JSON for each mailbox that is begun, about to be written, and ended, each there before the work goes on' -r -F
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l lock-method -d 'Dovecot\'s setting lock_method' -r -f -a "fcntl\t'POSIX record locks, Dovecot\'s default'
flock\t'BSD locks'
dotlock\t'A file dovecot.index.log.lock'
none\t'No lock: nobody else must be using the mailbox'"
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l lock-timeout -d 'How long to wait for the lock, such as 30, 500ms, 2m' -r
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l mail-location -d 'Where mail, indexes and control files are, if they are not found beside each other: Dovecot\'s mail_location (maildir:~/Maildir:INDEX=/var/index/%u), or its settings of 2.4 ("mail_path=~/Maildir mail_index_path=/idx/%u")' -r
complete -c idx -n "__fish_idx_using_subcommand rebuild" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand rebuild" -s n -l dry-run -d 'Only say what would be done; needs no lock'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -s p -l preen -d 'Repair whatever loses nothing and leave the rest alone, with its reason, as e2fsck -p does. So does idx unless it is told to accept losses: this option says that it is not'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -s r -l recursive -l tree -d 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l cross -d 'Also search file systems that are mounted below a directory'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l one-file-system -d 'Stay on the file system of each directory that is named; this is the default'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l no-undo -d 'Save nothing: the rebuild cannot be undone'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -l any-owner -d 'As root: take also files that belong to neither the owner of the mailbox directory nor root'
complete -c idx -n "__fish_idx_using_subcommand rebuild" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand undo" -s j -l jobs -d 'Threads that read mailboxes [default: one per processor]' -r
complete -c idx -n "__fish_idx_using_subcommand undo" -l lock-method -d 'Dovecot\'s setting lock_method' -r -f -a "fcntl\t'POSIX record locks, Dovecot\'s default'
flock\t'BSD locks'
dotlock\t'A file dovecot.index.log.lock'
none\t'No lock: nobody else must be using the mailbox'"
complete -c idx -n "__fish_idx_using_subcommand undo" -l lock-timeout -d 'How long to wait for the lock, such as 30, 500ms, 2m' -r
complete -c idx -n "__fish_idx_using_subcommand undo" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand undo" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand undo" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand undo" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand undo" -s n -l dry-run -d 'Only say what would be done; needs no lock'
complete -c idx -n "__fish_idx_using_subcommand undo" -l all -d 'Go back to before the first of all the rebuilds that are kept (at most five)'
complete -c idx -n "__fish_idx_using_subcommand undo" -l list -d 'Only say which rebuilds can be undone, the oldest first'
complete -c idx -n "__fish_idx_using_subcommand undo" -l clear -d 'Undo nothing, and remove the undo file'
complete -c idx -n "__fish_idx_using_subcommand undo" -l force -d 'Do it although something has been written since the rebuild; that is lost then, and -n says what it is'
complete -c idx -n "__fish_idx_using_subcommand undo" -l any-owner -d 'As root: take also files that belong to neither the owner of the mailbox directory nor root'
complete -c idx -n "__fish_idx_using_subcommand undo" -s r -l recursive -l tree -d 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir'
complete -c idx -n "__fish_idx_using_subcommand undo" -l cross -d 'Also search file systems that are mounted below a directory'
complete -c idx -n "__fish_idx_using_subcommand undo" -l one-file-system -d 'Stay on the file system of each directory that is named; this is the default'
complete -c idx -n "__fish_idx_using_subcommand undo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand scan" -s j -l jobs -d 'Threads that read mailboxes [default: one per processor]' -r
complete -c idx -n "__fish_idx_using_subcommand scan" -l mail-location -d 'Where mail, indexes and control files are, if they are not found beside each other: Dovecot\'s mail_location (maildir:~/Maildir:INDEX=/var/index/%u), or its settings of 2.4 ("mail_path=~/Maildir mail_index_path=/idx/%u")' -r
complete -c idx -n "__fish_idx_using_subcommand scan" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand scan" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand scan" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand scan" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand scan" -s a -l all -d 'Also list the indexes of mailbox lists, mdbox maps and private flags, and caches kept apart'
complete -c idx -n "__fish_idx_using_subcommand scan" -l cross -d 'Also search file systems that are mounted below a directory'
complete -c idx -n "__fish_idx_using_subcommand scan" -l one-file-system -d 'Stay on the file system of each directory that is named; this is the default'
complete -c idx -n "__fish_idx_using_subcommand scan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand simulate" -l worst -d 'Of many mailboxes, show the N worst in the table; 0 shows all' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -s j -l jobs -d 'Threads that read mailboxes [default: one per processor]' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l trace -d 'Recorded events, one JSON object a line: {"at":SECONDS,"bytes":N,"modseq":M,"expunged":"SET"|null,"sync":BOOL}' -r -F
complete -c idx -n "__fish_idx_using_subcommand simulate" -l appends-per-day -d 'Messages that arrive in a day' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l flags-per-day -d 'Flag changes in a day' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l expunges-per-day -d 'Messages expunged in a day' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l sync-every -d 'Time between full syncs; without it each command ends with one' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l pattern -d 'Rhythm of day and week (UTC): even, office, or a FILE with 24 or 168 weights, one for each hour from Monday on' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l burst -d 'Commands that come at once' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l messages -d 'Messages in the mailbox at the start' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l seed -d 'Start of the random numbers' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l storage -d 'Storage format, which decides how many bytes of log a command takes' -r -f -a "maildir\t'Maildir'
mbox\t'mbox'
sdbox\t'sdbox'
mdbox\t'mdbox'"
complete -c idx -n "__fish_idx_using_subcommand simulate" -l for -d 'How long to simulate [default: 30 days, or four times --want]' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l now -d 'The present [default: now; 2026-01-05 for traffic without a mailbox]' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l config -d 'Output of doveconf -n, or a dovecot.conf, of 2.3 or 2.4' -r -F
complete -c idx -n "__fish_idx_using_subcommand simulate" -l dovecot -d 'Whose rules and defaults' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l log-rotate-min-size -d 'mail_index_log_rotate_min_size' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l log-rotate-max-size -d 'mail_index_log_rotate_max_size' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l log-rotate-min-age -d 'mail_index_log_rotate_min_age' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l log2-max-age -d 'mail_index_log2_max_age' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l offline -d 'Clients that were away for these times' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l clients -d 'Number of clients' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l gaps -d 'How long clients stay away, each with its weight' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l want -d 'Find the cheapest settings that keep this window' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l share -d 'Share of the time that it shall be kept' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l mailboxes -d 'Of many mailboxes, share of those that shall keep it; one set of settings is for all' -r
complete -c idx -n "__fish_idx_using_subcommand simulate" -l plot -d 'Draw the window over time, or the windows of many mailboxes, and the answers by time away' -r -F
complete -c idx -n "__fish_idx_using_subcommand simulate" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand simulate" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand simulate" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand simulate" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand simulate" -s r -l recursive -l tree -d 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir'
complete -c idx -n "__fish_idx_using_subcommand simulate" -l cross -d 'Also search file systems that are mounted below a directory'
complete -c idx -n "__fish_idx_using_subcommand simulate" -l one-file-system -d 'Stay on the file system of each directory that is named; this is the default'
complete -c idx -n "__fish_idx_using_subcommand simulate" -l replay -d 'Repeat the mailbox\'s own past: its records, sizes and rhythm (the default with a PATH)'
complete -c idx -n "__fish_idx_using_subcommand simulate" -l synthetic -d 'Made-up traffic, by rates'
complete -c idx -n "__fish_idx_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand completions" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand completions" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand completions" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand completions" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand man" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand man" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand man" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand man" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand help" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand help" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand help" -l progress -d 'When to count on standard error what is done, after a second' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand help" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 1 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand help" -s h -l help -d 'Print help (see more with \'--help\')'
