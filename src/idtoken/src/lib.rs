//! HTCondor IDTOKENs.
