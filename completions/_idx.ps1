
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'idx' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'idx'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'idx' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check index files for damage; silent when all is well')
            [CompletionResult]::new('dump', 'dump', [CompletionResultType]::ParameterValue, 'Show what is physically in index files, field by field')
            [CompletionResult]::new('log', 'log', [CompletionResultType]::ParameterValue, 'Show the history of a mailbox: every record of .log.2 and .log, in order, and when it was written')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show a mailbox as Dovecot would present it: index plus logs replayed')
            [CompletionResult]::new('modseq', 'modseq', [CompletionResultType]::ParameterValue, 'Show modseqs: the highest, each file''s, each message''s, and the log position one stands for')
            [CompletionResult]::new('expunges', 'expunges', [CompletionResultType]::ParameterValue, 'List expunged messages: which, when, asked for by whom, and how far back the logs know')
            [CompletionResult]::new('qresync', 'qresync', [CompletionResultType]::ParameterValue, 'Say what a server must answer to SELECT (QRESYNC (V M ...))')
            [CompletionResult]::new('rebuild', 'rebuild', [CompletionResultType]::ParameterValue, 'Write a new dovecot.index from the logs, on the best base that survives')
            [CompletionResult]::new('undo', 'undo', [CompletionResultType]::ParameterValue, 'Put back, byte for byte, what the last rebuild of a mailbox replaced')
            [CompletionResult]::new('scan', 'scan', [CompletionResultType]::ParameterValue, 'List every mailbox below a directory: name, user, storage format, counts, sizes, state')
            [CompletionResult]::new('simulate', 'simulate', [CompletionResultType]::ParameterValue, 'Simulate log rotation and what it means for QRESYNC clients')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Write the man pages of idx and of every verb into a directory')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Show the man page of idx or of a verb')
            break
        }
        'idx;check' {
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--mail-location', '--mail-location', [CompletionResultType]::ParameterName, 'Where mail, indexes and control files are, if they are not found beside each other: Dovecot''s mail_location (maildir:~/Maildir:INDEX=/var/index/%u), or its settings of 2.4 ("mail_path=~/Maildir mail_index_path=/idx/%u")')
            [CompletionResult]::new('--fail-on', '--fail-on', [CompletionResultType]::ParameterName, 'What makes the exit code 1')
            [CompletionResult]::new('--prometheus', '--prometheus', [CompletionResultType]::ParameterName, 'Write metrics to FILE for the textfile collector of Prometheus'' node exporter; - is standard output')
            [CompletionResult]::new('--max-log-size', '--max-log-size', [CompletionResultType]::ParameterName, 'Warn of logs larger than this such as 64k, 1M, "1.5 MiB"')
            [CompletionResult]::new('--max-cache-size', '--max-cache-size', [CompletionResultType]::ParameterName, 'Warn of caches larger than this')
            [CompletionResult]::new('--min-window', '--min-window', [CompletionResultType]::ParameterName, 'Warn of logs that reach back less than this such as 3d, "2 days", 90m')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Also show what Dovecot does about each finding, the remedy, and what is merely worth knowing')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Also show what Dovecot does about each finding, the remedy, and what is merely worth knowing')
            [CompletionResult]::new('--deep', '--deep', [CompletionResultType]::ParameterName, 'Also check against the mail storage: Maildir, sdbox and mdbox files, the mailbox list, private flags')
            [CompletionResult]::new('--cross', '--cross', [CompletionResultType]::ParameterName, 'Also search file systems that are mounted below a directory')
            [CompletionResult]::new('--one-file-system', '--one-file-system', [CompletionResultType]::ParameterName, 'Stay on the file system of each directory that is named; this is the default')
            [CompletionResult]::new('--nagios', '--nagios', [CompletionResultType]::ParameterName, 'Print one line as a Nagios plugin does, and exit with 0 (OK) to 3 (UNKNOWN)')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;dump' {
            [CompletionResult]::new('--section', '--section', [CompletionResultType]::ParameterName, 'Only these sections')
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Only records of these messages')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most N records of each file')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Read the files as this kind, whatever they look like')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('--hex', '--hex', [CompletionResultType]::ParameterName, 'Name and show every byte')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;log' {
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Only records that name these messages, told as their life')
            [CompletionResult]::new('--type', '--type', [CompletionResultType]::ParameterName, 'Only these record types, such as append, flag-update, expunge-guid')
            [CompletionResult]::new('--modseq', '--modseq', [CompletionResultType]::ParameterName, 'Only records after which the modseq is N, or from A to B; either may be left out')
            [CompletionResult]::new('--position', '--position', [CompletionResultType]::ParameterName, 'Only records that begin at or between these log positions; either may be left out')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only what may have been written since: "2026-11-23 03:52", 03:52, yesterday, "3d ago", UNIX seconds, RFC 3339')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only what may have been written until then')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('--stats', '--stats', [CompletionResultType]::ParameterName, 'Count records and bytes by type, by origin and by hour')
            [CompletionResult]::new('--follow', '--follow', [CompletionResultType]::ParameterName, 'Go on with what is written from now on, across rotations, until interrupted')
            [CompletionResult]::new('--evidence', '--evidence', [CompletionResultType]::ParameterName, 'Say which clocks gave the times')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;show' {
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Only these messages')
            [CompletionResult]::new('--at', '--at', [CompletionResultType]::ParameterName, 'The mailbox as it was at a log position SEQ:OFFSET, or when its highest modseq was N (modseq:N)')
            [CompletionResult]::new('--pvt', '--pvt', [CompletionResultType]::ParameterName, 'Directory of the private index with the user''s own flags')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;modseq' {
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Only these messages')
            [CompletionResult]::new('--locate', '--locate', [CompletionResultType]::ParameterName, 'The log position that a modseq stands for, and how QRESYNC with it is answered')
            [CompletionResult]::new('--decode', '--decode', [CompletionResultType]::ParameterName, 'Take a number apart: a count of changes, or a log position as in snapshots of 2008')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('--history', '--history', [CompletionResultType]::ParameterName, 'Every step of the modseq, one line each')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;expunges' {
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'What a client has not seen that knows this modseq, or what may have happened since this time')
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Only these messages')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;qresync' {
            [CompletionResult]::new('--uidvalidity', '--uidvalidity', [CompletionResultType]::ParameterName, 'The UIDVALIDITY the client knows')
            [CompletionResult]::new('--modseq', '--modseq', [CompletionResultType]::ParameterName, 'The HIGHESTMODSEQ the client knows')
            [CompletionResult]::new('--known', '--known', [CompletionResultType]::ParameterName, 'The UIDs the client knows; all when not given')
            [CompletionResult]::new('--seq-match', '--seq-match', [CompletionResultType]::ParameterName, 'Sequence numbers and UIDs of some messages the client knows')
            [CompletionResult]::new('--versus', '--versus', [CompletionResultType]::ParameterName, 'A recorded IMAP session to compare; what the client sent then stands in for options not given')
            [CompletionResult]::new('--pvt', '--pvt', [CompletionResultType]::ParameterName, 'Directory of the private index with the user''s own flags')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;rebuild' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write the resulting files to DIR, which is new or your own, and touch nothing here; needs no lock')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write the resulting files to DIR, which is new or your own, and touch nothing here; needs no lock')
            [CompletionResult]::new('--base', '--base', [CompletionResultType]::ParameterName, 'What to build on')
            [CompletionResult]::new('--accept-loss', '--accept-loss', [CompletionResultType]::ParameterName, 'Go on although something is lost, or something of these grades: history, flags, messages, uidvalidity; exit code 1')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--journal', '--journal', [CompletionResultType]::ParameterName, 'Add to FILE a line of JSON for each mailbox that is begun, about to be written, and ended, each there before the work goes on')
            [CompletionResult]::new('--lock-method', '--lock-method', [CompletionResultType]::ParameterName, 'Dovecot''s setting lock_method')
            [CompletionResult]::new('--lock-timeout', '--lock-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the lock, such as 30, 500ms, 2m')
            [CompletionResult]::new('--mail-location', '--mail-location', [CompletionResultType]::ParameterName, 'Where mail, indexes and control files are, if they are not found beside each other: Dovecot''s mail_location (maildir:~/Maildir:INDEX=/var/index/%u), or its settings of 2.4 ("mail_path=~/Maildir mail_index_path=/idx/%u")')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Only say what would be done; needs no lock')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Only say what would be done; needs no lock')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Repair whatever loses nothing and leave the rest alone, with its reason, as e2fsck -p does. So does idx unless it is told to accept losses: this option says that it is not')
            [CompletionResult]::new('--preen', '--preen', [CompletionResultType]::ParameterName, 'Repair whatever loses nothing and leave the rest alone, with its reason, as e2fsck -p does. So does idx unless it is told to accept losses: this option says that it is not')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--tree', '--tree', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--cross', '--cross', [CompletionResultType]::ParameterName, 'Also search file systems that are mounted below a directory')
            [CompletionResult]::new('--one-file-system', '--one-file-system', [CompletionResultType]::ParameterName, 'Stay on the file system of each directory that is named; this is the default')
            [CompletionResult]::new('--no-undo', '--no-undo', [CompletionResultType]::ParameterName, 'Save nothing: the rebuild cannot be undone')
            [CompletionResult]::new('--any-owner', '--any-owner', [CompletionResultType]::ParameterName, 'As root: take also files that belong to neither the owner of the mailbox directory nor root')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;undo' {
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--lock-method', '--lock-method', [CompletionResultType]::ParameterName, 'Dovecot''s setting lock_method')
            [CompletionResult]::new('--lock-timeout', '--lock-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the lock, such as 30, 500ms, 2m')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Only say what would be done; needs no lock')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Only say what would be done; needs no lock')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Go back to before the first of all the rebuilds that are kept (at most five)')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'Only say which rebuilds can be undone, the oldest first')
            [CompletionResult]::new('--clear', '--clear', [CompletionResultType]::ParameterName, 'Undo nothing, and remove the undo file')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Do it although something has been written since the rebuild; that is lost then, and -n says what it is')
            [CompletionResult]::new('--any-owner', '--any-owner', [CompletionResultType]::ParameterName, 'As root: take also files that belong to neither the owner of the mailbox directory nor root')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--tree', '--tree', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--cross', '--cross', [CompletionResultType]::ParameterName, 'Also search file systems that are mounted below a directory')
            [CompletionResult]::new('--one-file-system', '--one-file-system', [CompletionResultType]::ParameterName, 'Stay on the file system of each directory that is named; this is the default')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;scan' {
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--mail-location', '--mail-location', [CompletionResultType]::ParameterName, 'Where mail, indexes and control files are, if they are not found beside each other: Dovecot''s mail_location (maildir:~/Maildir:INDEX=/var/index/%u), or its settings of 2.4 ("mail_path=~/Maildir mail_index_path=/idx/%u")')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-a', '-a', [CompletionResultType]::ParameterName, 'Also list the indexes of mailbox lists, mdbox maps and private flags, and caches kept apart')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Also list the indexes of mailbox lists, mdbox maps and private flags, and caches kept apart')
            [CompletionResult]::new('--cross', '--cross', [CompletionResultType]::ParameterName, 'Also search file systems that are mounted below a directory')
            [CompletionResult]::new('--one-file-system', '--one-file-system', [CompletionResultType]::ParameterName, 'Stay on the file system of each directory that is named; this is the default')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;simulate' {
            [CompletionResult]::new('--worst', '--worst', [CompletionResultType]::ParameterName, 'Of many mailboxes, show the N worst in the table; 0 shows all')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Threads that read mailboxes [default: one per processor]')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Recorded events, one JSON object a line: {"at":SECONDS,"bytes":N,"modseq":M,"expunged":"SET"|null,"sync":BOOL}')
            [CompletionResult]::new('--appends-per-day', '--appends-per-day', [CompletionResultType]::ParameterName, 'Messages that arrive in a day')
            [CompletionResult]::new('--flags-per-day', '--flags-per-day', [CompletionResultType]::ParameterName, 'Flag changes in a day')
            [CompletionResult]::new('--expunges-per-day', '--expunges-per-day', [CompletionResultType]::ParameterName, 'Messages expunged in a day')
            [CompletionResult]::new('--sync-every', '--sync-every', [CompletionResultType]::ParameterName, 'Time between full syncs; without it each command ends with one')
            [CompletionResult]::new('--pattern', '--pattern', [CompletionResultType]::ParameterName, 'Rhythm of day and week (UTC): even, office, or a FILE with 24 or 168 weights, one for each hour from Monday on')
            [CompletionResult]::new('--burst', '--burst', [CompletionResultType]::ParameterName, 'Commands that come at once')
            [CompletionResult]::new('--messages', '--messages', [CompletionResultType]::ParameterName, 'Messages in the mailbox at the start')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'Start of the random numbers')
            [CompletionResult]::new('--storage', '--storage', [CompletionResultType]::ParameterName, 'Storage format, which decides how many bytes of log a command takes')
            [CompletionResult]::new('--for', '--for', [CompletionResultType]::ParameterName, 'How long to simulate [default: 30 days, or four times --want]')
            [CompletionResult]::new('--now', '--now', [CompletionResultType]::ParameterName, 'The present [default: now; 2026-01-05 for traffic without a mailbox]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Output of doveconf -n, or a dovecot.conf, of 2.3 or 2.4')
            [CompletionResult]::new('--dovecot', '--dovecot', [CompletionResultType]::ParameterName, 'Whose rules and defaults')
            [CompletionResult]::new('--log-rotate-min-size', '--log-rotate-min-size', [CompletionResultType]::ParameterName, 'mail_index_log_rotate_min_size')
            [CompletionResult]::new('--log-rotate-max-size', '--log-rotate-max-size', [CompletionResultType]::ParameterName, 'mail_index_log_rotate_max_size')
            [CompletionResult]::new('--log-rotate-min-age', '--log-rotate-min-age', [CompletionResultType]::ParameterName, 'mail_index_log_rotate_min_age')
            [CompletionResult]::new('--log2-max-age', '--log2-max-age', [CompletionResultType]::ParameterName, 'mail_index_log2_max_age')
            [CompletionResult]::new('--offline', '--offline', [CompletionResultType]::ParameterName, 'Clients that were away for these times')
            [CompletionResult]::new('--clients', '--clients', [CompletionResultType]::ParameterName, 'Number of clients')
            [CompletionResult]::new('--gaps', '--gaps', [CompletionResultType]::ParameterName, 'How long clients stay away, each with its weight')
            [CompletionResult]::new('--want', '--want', [CompletionResultType]::ParameterName, 'Find the cheapest settings that keep this window')
            [CompletionResult]::new('--share', '--share', [CompletionResultType]::ParameterName, 'Share of the time that it shall be kept')
            [CompletionResult]::new('--mailboxes', '--mailboxes', [CompletionResultType]::ParameterName, 'Of many mailboxes, share of those that shall keep it; one set of settings is for all')
            [CompletionResult]::new('--plot', '--plot', [CompletionResultType]::ParameterName, 'Draw the window over time, or the windows of many mailboxes, and the answers by time away')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--tree', '--tree', [CompletionResultType]::ParameterName, 'Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir')
            [CompletionResult]::new('--cross', '--cross', [CompletionResultType]::ParameterName, 'Also search file systems that are mounted below a directory')
            [CompletionResult]::new('--one-file-system', '--one-file-system', [CompletionResultType]::ParameterName, 'Stay on the file system of each directory that is named; this is the default')
            [CompletionResult]::new('--replay', '--replay', [CompletionResultType]::ParameterName, 'Repeat the mailbox''s own past: its records, sizes and rhythm (the default with a PATH)')
            [CompletionResult]::new('--synthetic', '--synthetic', [CompletionResultType]::ParameterName, 'Made-up traffic, by rates')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;completions' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;man' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'idx;help' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print results')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'When to count on standard error what is done, after a second')
            [CompletionResult]::new('--mmap', '--mmap', [CompletionResultType]::ParameterName, 'When to map files into memory instead of copying them')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
