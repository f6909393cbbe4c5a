use std::num::NonZeroU32;

/// A typed index into one table.
pub(crate) trait Handle: Copy {
    /// The handle of the entry at `index`.
    fn from_index(index: usize) -> Self;

    /// The index of the entry.
    fn to_index(self) -> usize;
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Valid in the profile that made it. `Option` of it is no larger.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// The position in the table, counted from 0 in the order of
            /// first appearance: dense, for arrays beside the table.
            pub const fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }

        impl Handle for $name {
            fn from_index(index: usize) -> Self {
                // 2^32 entries of any table fill a hundred gigabytes and more:
                // memory ends long before the handles do.
                let number = index
                    .checked_add(1)
                    .and_then(|n| u32::try_from(n).ok())
                    .and_then(NonZeroU32::new)
                    .expect("a table holds fewer than 2^32 entries");
                Self(number)
            }

            fn to_index(self) -> usize {
                self.index()
            }
        }
    };
}

handle! {
    /// Names an interned string.
    StringId
}
handle! {
    /// Names an interned [`Frame`](crate::Frame).
    FrameId
}
handle! {
    /// Names a stack: a node of the prefix tree, the path from the root to it.
    StackId
}
handle! {
    /// Names a [`Process`](crate::Process).
    ProcessId
}
handle! {
    /// Names a [`Thread`](crate::Thread).
    ThreadId
}
