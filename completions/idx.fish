# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_idx_global_optspecs
    string join \n f/format= color= mmap= h/help V/version
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
complete -c idx -n "__fish_idx_needs_command" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 4 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_needs_command" -s V -l version -d 'Print version'
complete -c idx -n "__fish_idx_needs_command" -f -a "dump" -d 'Show what is physically in index files, field by field'
complete -c idx -n "__fish_idx_needs_command" -f -a "show" -d 'Show a mailbox as Dovecot would present it: index plus logs replayed'
complete -c idx -n "__fish_idx_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c idx -n "__fish_idx_needs_command" -f -a "man" -d 'Write the man pages of idx and of every verb into a directory'
complete -c idx -n "__fish_idx_needs_command" -f -a "help" -d 'Show the man page of idx or of a verb'
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
complete -c idx -n "__fish_idx_using_subcommand dump" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 4 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand dump" -l hex -d 'Name and show every byte'
complete -c idx -n "__fish_idx_using_subcommand dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand show" -l uid -d 'Only these messages' -r
complete -c idx -n "__fish_idx_using_subcommand show" -l at -d 'The mailbox as it was at a log position SEQ:OFFSET, or when its highest modseq was N (modseq:N)' -r
complete -c idx -n "__fish_idx_using_subcommand show" -l pvt -d 'Directory of the private index with the user\'s own flags' -r -F
complete -c idx -n "__fish_idx_using_subcommand show" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand show" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand show" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 4 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand completions" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand completions" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand completions" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 4 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand man" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand man" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand man" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 4 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c idx -n "__fish_idx_using_subcommand help" -s f -l format -d 'How to print results' -r -f -a "table\t'For people'
json\t'One JSON document'
ndjson\t'One JSON object per line'"
complete -c idx -n "__fish_idx_using_subcommand help" -l color -d 'When to colour; NO_COLOR and CLICOLOR_FORCE are honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c idx -n "__fish_idx_using_subcommand help" -l mmap -d 'When to map files into memory instead of copying them' -r -f -a "auto\t'Indexes and caches from 4 MiB on'
always\t'Every file, even one that may be truncated while it is read'
never\t'No file'"
complete -c idx -n "__fish_idx_using_subcommand help" -s h -l help -d 'Print help (see more with \'--help\')'
