# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the menu entries of exmh-defaults do.

# What mhsync has to say about the folder that is shown, in a window of its own.
proc Mhsync_Check {} {
    global exmh
    catch {exec mhsync check +$exmh(folder) < /dev/null 2>@1} said
    if {![winfo exists .mhsync]} {
	toplevel .mhsync
	wm title .mhsync mhsync
	pack [button .mhsync.close -text Close -command {destroy .mhsync}] -side bottom
	pack [text .mhsync.text -width 90 -height 20] -fill both -expand 1
    }
    .mhsync.text configure -state normal
    .mhsync.text delete 1.0 end
    .mhsync.text insert end $said
    .mhsync.text configure -state disabled
}

# exmh holds numbers until they are committed: first that, then what is on disk is shown.
proc Mhsync_Unrm {} {
    global exmh
    if {[Ftoc_Changes "Bring back"] > 0} {
	return
    }
    if {[catch {exec mhunrm +$exmh(folder) < /dev/null} number]} {
	Exmh_Status $number error
	return
    }
    Scan_FolderForce
    Msg_Change [lindex $number 0]
}
